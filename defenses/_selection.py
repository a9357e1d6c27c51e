"""Which rows to keep, hard or soft. Written against the array API: NumPy and JAX alike."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from bilevel.losses import Hinge


def lowest(score: Any, among: Any, count: Any, tie: Any = None) -> Any:
    """The `count` rows of lowest score (n,) among those of a mask (n,), as a mask. NaN is last.

    Of equal scores the lower `tie` (n,), a `row_hash`, is first: else their order would decide.
    """
    xp = score.__array_namespace__()
    score = xp.where(xp.isnan(score), xp.full_like(score, xp.inf), score)
    order = xp.arange(score.shape[0]) if tie is None else xp.argsort(tie, stable=True)
    order = xp.take(order, xp.argsort(xp.take(score, order), stable=True))
    order = xp.take(order, xp.argsort(xp.take(~among, order), stable=True))
    place = xp.argsort(order, stable=True)
    return (xp.astype(place, xp.int32) < count) & among


def level(score: Any) -> Any:
    """Scores that differ by rounding only, made equal."""
    xp = score.__array_namespace__()
    finite = xp.where(xp.isfinite(score), xp.abs(score), xp.zeros_like(score))
    unit = 1024 * xp.finfo(score.dtype).eps * xp.max(finite)
    return xp.where(unit > 0, xp.round(score / xp.where(unit > 0, unit, 1)) * unit, score)


def kept_count(among: Any, contamination: float) -> Any:
    """How many rows of a mask are left when this share of them is dropped: one at least."""
    xp = among.__array_namespace__()
    rows = xp.sum(xp.astype(among, xp.float32))  # exact up to 16 million rows
    left = xp.round((1 - contamination) * rows)
    return xp.astype(xp.where(left > 1, left, xp.ones_like(left)), xp.int32)


def row_losses(loss, y: Float[Array, " n"], f: Float[Array, " n"]) -> Float[Array, " n"]:
    """Losses to rank rows by. Hinge losses of zero would tie: 1 - y f orders those too."""
    return 1 - y * f if isinstance(loss, Hinge) else loss(y, f)


def soft_lowest(
    score: Float[Array, " n"],
    weight: Float[Array, " n"],
    count: Float[Array, ""],
    sharpness: float,
) -> Float[Array, " n"]:
    """Shares 1 / (1 + (score / threshold)^sharpness) that sum to `count` with the weights (n,), for
    scores >= 0: a sigmoid of the logarithm of the score, so that a row far beyond the threshold
    still feels which way leads back.

    The threshold is found by bisection, and differentiated implicitly.
    """

    def shares(log_threshold, score):
        # The logarithm only where it is finite, lest its derivative at zero be NaN.
        positive = score > 0
        log_score = jnp.log(jnp.where(positive, score, 1))
        return jnp.where(positive, jax.nn.sigmoid(sharpness * (log_threshold - log_score)), 1)

    def excess(log_threshold, score):
        return jnp.sum(weight * shares(log_threshold, score)) - count

    hard = lax.stop_gradient(score)
    inside = (weight > 0) & (hard > 0) & jnp.isfinite(hard)
    logs = jnp.log(jnp.where(inside, hard, 1))
    some = jnp.any(inside)  # else finite ends, lest the derivative of what is not used be NaN
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


def mask_of(keep: Bool[Array, " n"], like: Float[Array, " n"]) -> Float[Array, " n"]:
    return lax.stop_gradient(keep.astype(like.dtype))
