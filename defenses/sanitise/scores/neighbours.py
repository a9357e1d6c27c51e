"""Distance to the k-th nearest row of the class (Koh, Steinhardt & Liang 2018: "k-NN")."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ._score import AbstractScore

PAIRS = 2**19
"""Distances held in memory at a time."""


class Neighbours(AbstractScore):
    """Squared distance to the `k`-th nearest other row of the class (5 as published).

    Distances are those of all pairs of rows, a block of them in memory at a time.
    """

    k: int = eqx.field(static=True, default=5)

    def __check_init__(self):
        if self.k < 1:
            raise ValueError(f"k: got {self.k}, expected a number of neighbours >= 1")

    def __call__(self, x, inside, outside):
        rows = x.shape[0]
        count = max(1, min(self.k, rows - 1))
        if isinstance(x, np.ndarray):
            blocks = np.array_split(np.arange(rows), -(-rows * rows // PAIRS))
            members = np.flatnonzero(inside > 0)
            return np.concatenate([_of_rows(x, some, members, count) for some in blocks])

        @jax.checkpoint  # a derivative makes the distances anew: all would be n x n
        def of_row(row):
            apart = squared_distances(x, row[None])[0]
            return _of_row(jnp.where(inside > 0, apart, jnp.inf), count)

        return lax.map(of_row, jnp.arange(rows), batch_size=max(1, min(rows, PAIRS // rows)))


def _of_rows(x, some, members, count):
    """Of the rows of the indices `some`, the distance to the count-th of the nearest `members`, of
    fewer to the furthest; 0 without any.
    """
    apart = squared_distances(x, some, members)
    near = np.partition(apart, min(count, members.size) - 1)[:, :count] if members.size else apart
    return np.max(near, axis=1, initial=0.0, where=np.isfinite(near))


def _of_row(apart, count):
    """The same of a row's distances (n,), infinite where there is no member. By minima beyond
    minima: on a CPU, XLA's top_k and argmin take ten times as long.
    """
    fixed = lax.stop_gradient(apart)

    def further(_, state):
        level, many = state
        least = jnp.min(jnp.where(fixed > level, fixed, jnp.inf))
        level = jnp.where((many < count) & jnp.isfinite(least), least, level)
        return level, jnp.sum(fixed <= level, dtype=jnp.int32)

    nothing = jnp.full((), -jnp.inf, apart.dtype), jnp.int32(0)
    level, _ = lax.fori_loop(0, count, further, nothing)
    there = fixed == level
    many = jnp.sum(there, dtype=apart.dtype)
    return jnp.sum(jnp.where(there, apart, 0)) / jnp.where(many > 0, many, 1)


def squared_distances(x, some=None, others=None):
    """From each row, or those of the indices `some` (m,), to all rows, or those of the indices
    `others` (k,): (m, k); infinite from a row to itself.
    """
    xp = x.__array_namespace__()
    x = x - xp.mean(x, axis=0)[None, :]  # differences of large numbers lose digits
    square, rows = xp.sum(x * x, axis=1), xp.arange(x.shape[0])
    some = rows if some is None else some
    others = rows if others is None else others
    apart = (
        square[some, None]
        + square[None, others]
        - 2 * xp.tensordot(x[some], x[others], axes=((1,), (1,)))
    )
    apart = xp.where(apart > 0, apart, xp.zeros_like(apart))
    return xp.where(some[:, None] == others[None, :], xp.full_like(apart, xp.inf), apart)
