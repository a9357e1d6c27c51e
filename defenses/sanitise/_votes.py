"""The vote of the nearest rows on labels. Written against the array API."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .scores.neighbours import squared_distances

PAIRS = 2**20
"""Distances held in memory at a time."""


def nearest(x: Any, weight: Any, k: int, some: Any = None) -> Any:
    """Which others (m, n) are no further from a row than the nearest whose weights (n,) add up to
    k: of all rows (n, d), or those of the indices `some` (m,).
    """
    xp = x.__array_namespace__()
    apart = squared_distances(x, some)
    order = xp.argsort(apart, axis=1)
    heavy = xp.cumulative_sum(xp.take(weight, order), axis=1) >= k * (1 - 1e-6)
    last = xp.where(xp.any(heavy, axis=1), xp.argmax(heavy, axis=1), x.shape[0] - 2)
    radius = xp.take_along_axis(xp.take_along_axis(apart, order, axis=1), last[:, None], axis=1)
    # Distances that differ by rounding are equal: no order of the rows may decide.
    square = xp.sum((x - xp.mean(x, axis=0)[None, :]) ** 2, axis=1)
    of_rows = square if some is None else square[some]
    rounding = 32 * xp.finfo(x.dtype).eps * (of_rows[:, None] + square[None, :])
    # The nearest of these itself is one, however the sum is rounded: a certificate rounds coarsely.
    return ((apart <= radius) | (apart <= radius + rounding)) & xp.isfinite(apart)


def tallies(x: Any, weight: Any, k: int, values: Any) -> Any:
    """Sums over the `nearest` of each row of their values (n, c): (n, c), differentiable in the
    values. A block of the pairs of rows is in memory at a time.
    """
    xp, rows = x.__array_namespace__(), x.shape[0]

    def of_rows(some):
        return xp.astype(nearest(x, weight, k, some), values.dtype) @ values

    if rows * rows <= PAIRS:
        return of_rows(None)
    if isinstance(x, np.ndarray):
        blocks = np.array_split(np.arange(rows), -(-rows * rows // PAIRS))
        return np.concatenate([of_rows(some) for some in blocks])

    @jax.checkpoint  # a derivative finds them anew: they would be n x n
    def of_row(row):
        return of_rows(row[None])[0]

    return lax.map(of_row, jnp.arange(rows), batch_size=max(1, PAIRS // rows))


def shares(x: Any, weight: Any, k: int, labels: Any) -> Any:
    """Shares (n, c) that each class has of the votes of a row's `nearest`, by weight (n,), with
    labels one-hot (n, c); all zero without neighbours of weight > 0.
    """
    xp = weight.__array_namespace__()
    sums = tallies(x, weight, k, weight[:, None] * labels)
    votes, tiny = xp.sum(sums, axis=1), xp.finfo(weight.dtype).tiny
    return sums / xp.where(votes > tiny, votes, tiny)[:, None]


def elected(share: Any, at_tie: Any, agreement: float) -> tuple[Any, Any]:
    """(the class of most votes, whether it has the least share demanded).

    - `share` (n, k): of the votes. `at_tie` (n, k): one-hot, the class that wins an even vote.
    """
    xp = share.__array_namespace__()
    enough = xp.max(share, axis=1) >= agreement - 1e-6
    return xp.argmax(share + 2e-6 * at_tie, axis=1), enough
