"""Distance to the k-th nearest row of the class (Koh, Steinhardt & Liang 2018: "k-NN")."""

import equinox as eqx

from ._score import AbstractScore


class Neighbours(AbstractScore):
    """Squared distance to the `k`-th nearest other row of the class (5 as published)."""

    k: int = eqx.field(static=True, default=5)

    def __check_init__(self):
        if self.k < 1:
            raise ValueError(f"k: got {self.k}, expected a number of neighbours >= 1")

    def __call__(self, x, inside, outside):
        xp = x.__array_namespace__()
        apart = squared_distances(x)
        apart = xp.where(inside[None, :] > 0, apart, xp.full_like(apart, xp.inf))
        near = xp.sort(apart, axis=1)[:, : max(1, min(self.k, x.shape[0] - 1))]
        # Of a class of few rows, the furthest.
        near = xp.where(xp.isfinite(near), near, xp.full_like(near, -xp.inf))
        furthest = xp.max(near, axis=1)
        return xp.where(furthest >= 0, furthest, xp.zeros_like(furthest))


def squared_distances(x, some=None):
    """From each row, or those of the indices `some` (m,), to all rows (m, n); infinite from a row
    to itself.
    """
    xp = x.__array_namespace__()
    x = x - xp.mean(x, axis=0)[None, :]  # differences of large numbers lose digits
    square, rows = xp.sum(x * x, axis=1), xp.arange(x.shape[0])
    some = rows if some is None else some
    apart = square[some, None] + square[None, :] - 2 * (x[some] @ x.T)
    apart = xp.where(apart > 0, apart, xp.zeros_like(apart))
    return xp.where(some[:, None] == rows[None, :], xp.full_like(apart, xp.inf), apart)
