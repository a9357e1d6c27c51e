"""Distance to the k-th nearest row of the class (Koh, Steinhardt & Liang 2018: "k-NN")."""

import equinox as eqx

from ._score import AbstractScore


class Neighbours(AbstractScore):
    """Squared distance to the `k`-th nearest other row of the class (5 as published)."""

    k: int = eqx.field(static=True, default=5)

    def __check_init__(self):
        if self.k < 1:
            raise ValueError(f"k: got {self.k}, expected a number of neighbours >= 1")

    def __call__(self, x, own, other):
        xp = x.__array_namespace__()
        apart = squared_distances(x)
        apart = xp.where(own[None, :] > 0, apart, xp.full_like(apart, xp.inf))
        near = xp.sort(apart, axis=1)[:, : min(self.k, x.shape[0] - 1)]
        # Of a class of few rows, the furthest.
        near = xp.where(xp.isfinite(near), near, xp.full_like(near, -xp.inf))
        furthest = xp.max(near, axis=1)
        return xp.where(furthest >= 0, furthest, xp.zeros_like(furthest))


def squared_distances(x):
    """Between all pairs of rows (n, n), infinite from a row to itself."""
    xp = x.__array_namespace__()
    x = x - xp.mean(x, axis=0)[None, :]  # differences of large numbers lose digits
    square = xp.sum(x * x, axis=1)
    apart = square[:, None] + square[None, :] - 2 * (x @ x.T)
    apart = xp.where(apart > 0, apart, xp.zeros_like(apart))
    return xp.where(xp.eye(x.shape[0], dtype=xp.bool), xp.full_like(apart, xp.inf), apart)
