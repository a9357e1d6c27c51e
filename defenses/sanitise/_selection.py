"""Which rows to keep, hard or soft. The hard ones are written for NumPy's and JAX's arrays alike:
the estimators select by the same functions.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def lowest(score: Any, among: Any, count: Any, tie: Any = None) -> Any:
    """The `count` rows of lowest score (n,) among those of a mask (n,), as a mask. NaN is last.

    - `tie` (n,): of equal scores the lower is first, as of a `row_hash`; by default the row in
      front.
    """
    xp = score.__array_namespace__()
    score = xp.where(xp.isnan(score), xp.full_like(score, xp.inf), score)
    tie = xp.arange(score.shape[0]) if tie is None else tie
    place = xp.argsort(xp.lexsort((tie, score, ~among)), stable=True)
    return (xp.astype(place, xp.int32) < count) & among


def level(score: Any) -> Any:
    """Scores that differ by rounding only, made equal."""
    xp = score.__array_namespace__()
    finite = xp.where(xp.isfinite(score), xp.abs(score), xp.zeros_like(score))
    unit = 1024 * xp.finfo(score.dtype).eps * xp.max(finite)
    return xp.where(unit > 0, xp.round(score / xp.where(unit > 0, unit, 1)) * unit, score)


def kept_count(among: Any, contamination: Any) -> Any:
    """How many rows of a mask are left when this share of them is dropped: one at least."""
    xp = among.__array_namespace__()
    rows = xp.sum(xp.astype(among, xp.float32))  # exact up to 16 million rows
    left = xp.round((1 - contamination) * rows)
    return xp.astype(xp.where(left > 1, left, xp.ones_like(left)), xp.int32)


def no_worse(score: Any, limit: Any, among: Any) -> Any:
    """Rows of a mask (n,) whose score (n,) does not exceed the limit by more than rounding; those
    of the least score in any case, so that there are rows to train on.
    """
    xp = score.__array_namespace__()
    least = xp.min(xp.where(among, score, xp.full_like(score, xp.inf)))
    limit = xp.where(least > limit, least, xp.astype(xp.asarray(limit), score.dtype))
    return among & ~(score > limit + 64 * xp.finfo(score.dtype).eps)


def soft_lowest(
    score: Float[Array, " n"],
    weight: Float[Array, " n"],
    count: Float[Array, ""],
    sharpness: float,
) -> Float[Array, " n"]:
    """Shares 1 / (1 + (score / threshold)^sharpness) that sum to `count` with the weights (n,), for
    scores >= 0: a sigmoid of the logarithm of the score, so that a row far beyond the threshold
    still has a derivative towards it.

    The threshold is found by bisection, and differentiated implicitly.
    """

    def shares(log_threshold, score):
        # The logarithm only where it is finite: its derivative at zero would be NaN.
        positive = score > 0
        log_score = jnp.log(jnp.where(positive, score, 1))
        return jnp.where(positive, jax.nn.sigmoid(sharpness * (log_threshold - log_score)), 1)

    def excess(log_threshold, score):
        return jnp.sum(weight * shares(log_threshold, score)) - count

    hard = lax.stop_gradient(score)
    inside = (weight > 0) & (hard > 0) & jnp.isfinite(hard)
    logs = jnp.log(jnp.where(inside, hard, 1))
    some = jnp.any(inside)  # else finite ends: the derivative of what is not used would be NaN
    low = jnp.where(some, jnp.min(jnp.where(inside, logs, jnp.inf)), 0) - 40 / sharpness
    high = jnp.where(some, jnp.max(jnp.where(inside, logs, -jnp.inf)), 0) + 40 / sharpness

    def halve(_, ends):
        low, high = ends
        middle = 0.5 * (low + high)
        below = excess(middle, hard) < 0
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low, high = lax.fori_loop(0, 80, halve, (low, high))
    middle = 0.5 * (low + high)
    # Newton's step from the root has the root's derivative.
    slope = jax.grad(excess)(middle, hard)
    root = middle - excess(middle, score) / jnp.where(slope > 0, slope, 1)
    return shares(root, score)


def ranked(loss: Any, y: Array, f: Array) -> Float[Array, " n"]:
    """Losses of rows to order them by: `loss.rank`, where a loss that can be zero has one."""
    return getattr(loss, "rank", loss)(y, f)
