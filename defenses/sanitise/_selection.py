"""Which rows to keep, hard or soft. The hard ones are written for NumPy's and JAX's arrays alike:
the estimators select by the same functions.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ._quotas import Quota, first_of


def lowest(score: Any, among: Any, count: Any, tie: Any = None, quota: Quota | None = None) -> Any:
    """The `count` rows of lowest score (n,) among those of a mask (n,), as a mask. NaN is last.

    - `tie` (n,): of equal scores the lower is first, as of a `row_hash`; by default the row in
      front.
    - `quota`: what is taken of each class first. If that is more than `count`, that many.
    """
    xp = score.__array_namespace__()
    if quota is not None:
        first = first_lowest(score, among, tie, quota)
        left = count - xp.sum(first, dtype=xp.int32)
        return first | lowest(score, among & ~first, left, tie)
    score, (front, place) = _worst_last(score, among), _places(score, tie)
    order = _order(front, score)
    last = order[xp.clip(xp.asarray(count) - 1, 0, score.shape[0] - 1)]
    return among & (count > 0) & _until(last, score, place)


def first_lowest(score: Any, among: Any, tie: Any, quota: Quota) -> Any:
    """Of each class the rows of lowest score (n,) that its quota takes, a mask."""
    xp = score.__array_namespace__()
    score, (front, place) = _worst_last(score, among), _places(score, tie)
    group = xp.where(among, quota.group, xp.full_like(quota.group, xp.inf))
    order = _order(front, score, group)
    end = xp.searchsorted(group[order], quota.group) + quota.least
    last = order[xp.clip(xp.astype(end, xp.int32) - 1, 0, score.shape[0] - 1)]
    # A class of fewer rows than its quota is taken as a whole.
    taken = (group[last] != group) | _until(last, score, place)
    return among & (quota.least > 0) & taken


def _worst_last(score: Any, among: Any) -> Any:
    """Scores (n,) that sort in the order in which rows are taken: NaN as the largest; rows outside
    of the mask, which are not taken, as NaN.
    """
    xp = score.__array_namespace__()
    score = xp.where(xp.isnan(score), xp.full_like(score, xp.inf), score)
    return xp.where(among, score, xp.full_like(score, xp.nan))


def _places(score: Any, tie: Any) -> tuple[Any, Any]:
    """The rows (n,) in the order in which equal scores are taken, and the place (n,) of each."""
    xp = score.__array_namespace__()
    if tie is None:
        front = xp.arange(score.shape[0])
        return front, front
    front = xp.argsort(tie, stable=True)
    return front, xp.argsort(front, stable=True)


def _order(front: Any, *keys: Any) -> Any:
    """Indices (n,) of the rows by keys (n,), that of most weight last, then as they are in `front`.

    Ties stay the same in a search: they are sorted once, in front of its loop.
    """
    xp = front.__array_namespace__()
    return front[xp.lexsort(tuple(key[front] for key in keys))]


def _until(last: Any, score: Any, place: Any) -> Any:
    """Whether a row is in front of row `last`, an index, or an array of one for each row; or is it
    itself.
    """
    xp = score.__array_namespace__()
    limit = score[last]
    ahead = (score < limit) | xp.isnan(limit)
    return ahead | ((score == limit) & (place <= place[last]))


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
    """Rows of a mask (n,) whose score (n,) does not exceed the limit by more than rounding."""
    xp = score.__array_namespace__()
    limit = xp.astype(xp.asarray(limit), score.dtype)
    return among & ~(score > limit + 64 * xp.finfo(score.dtype).eps)


def soft_lowest(
    score: Float[Array, " n"],
    weight: Float[Array, " n"],
    count: Float[Array, ""],
    sharpness: float,
    quota: Quota | None = None,
) -> Float[Array, " n"]:
    """Shares 1 / (1 + (score / threshold)^sharpness) that sum to `count` with the weights (n,), for
    scores >= 0: a sigmoid of the logarithm of the score, so that a row far beyond the threshold
    still has a derivative towards it.

    - `quota`: what the shares of each class sum to at least: the threshold of a class is raised to
      where they do.

    Thresholds are found by bisection, and differentiated implicitly.
    """
    # The logarithm only where it is finite: its derivative at zero would be NaN.
    inside = (score > 0) & jnp.isfinite(score)
    beyond = jnp.where(score > 0, FAR, -FAR)
    height = jnp.where(inside, jnp.log(jnp.where(inside, score, 1)), beyond)
    rows = score.shape[0]
    lowest = jnp.full_like(height, -FAR)
    if quota is not None:
        number = first_of(quota.group, weight > 0)

        def of_class(values: Array) -> Array:
            return jax.ops.segment_sum(values, number, rows)[number]

        least = quota.least.astype(height.dtype)
        lowest = _threshold(height, weight, least, sharpness, lowest, of_class)
    count = jnp.broadcast_to(count, height.shape)

    def of_all(values: Array) -> Array:
        return jnp.broadcast_to(jnp.sum(values), values.shape)

    threshold = _threshold(height, weight, count, sharpness, lowest, of_all)
    return jax.nn.sigmoid(sharpness * (jnp.maximum(threshold, lowest) - height))


FAR = 1e4
"""The logarithm of a score of zero is minus this, and of an infinite one plus this."""


def _threshold(
    height: Float[Array, " n"],
    weight: Float[Array, " n"],
    count: Float[Array, " n"],
    sharpness: float,
    lowest: Float[Array, " n"],
    total: Callable[[Array], Array],
) -> Float[Array, " n"]:
    """Thresholds t (n,) at which weighted sigmoids of max(t, lowest) less the heights (n,) add up
    to `count` (n,), by `total` over all rows or over those of a class.
    """

    def excess(t, height, lowest):
        shares = jax.nn.sigmoid(sharpness * (jnp.maximum(t, lowest) - height))
        return total(weight * shares) - count

    hard, floor = lax.stop_gradient((height, lowest))
    some = (weight > 0) & (jnp.abs(hard) < FAR)
    ends = jnp.where(some, hard, jnp.inf), jnp.where(some, hard, -jnp.inf)
    any_ = jnp.any(some)  # else finite ends: the derivative of what is not used would be NaN
    low = jnp.full_like(hard, jnp.where(any_, jnp.min(ends[0]), 0) - 40 / sharpness)
    high = jnp.full_like(hard, jnp.where(any_, jnp.max(ends[1]), 0) + 40 / sharpness)

    def halve(_, ends):
        low, high = ends
        middle = 0.5 * (low + high)
        below = excess(middle, hard, floor) < 0
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low, high = lax.fori_loop(0, 80, halve, (low, high))
    middle = 0.5 * (low + high)
    # Newton's step from the root has the root's derivative.
    shares = jax.nn.sigmoid(sharpness * (middle - hard))
    bound = jnp.where(middle > floor, weight, 0)
    slope = total(bound * sharpness * shares * (1 - shares))
    return middle - excess(middle, height, lowest) / jnp.where(slope > 0, slope, 1)


def ranked(loss: Any, y: Array, f: Array) -> Float[Array, " n"]:
    """Losses of rows to order them by: `loss.rank`, where a loss that can be zero has one."""
    return getattr(loss, "rank", loss)(y, f)


def graded(loss: Any, y: Array, f: Array) -> Float[Array, " n"]:
    """Positive losses of rows to share by: of a loss that can be zero the softplus of its rank.

    Were most rows without loss, the threshold would be zero too: shares would jump between 0 and 1,
    and turns of training and sharing have no fixed point.
    """
    return jax.nn.softplus(loss.rank(y, f)) if hasattr(loss, "rank") else loss(y, f)
