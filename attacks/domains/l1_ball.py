"""l1 balls."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ._ball import AbstractBall, Sizes, ball
from ._crossing import crossing
from .box import Box


class L1Ball(AbstractBall):
    """sum_j |x_ij - centre_ij| <= radius for each row i, inside a box. See `AbstractBall`.

    - `centre` (m, ...), `radius` > 0, `inside`: a `Box` that contains the centre.
    """

    centre: Float[Array, "m ..."]
    radius: Float[Array, ""]
    inside: Box

    def __init__(self, centre, radius, inside: Box | None = None):
        self.centre, self.radius, self.inside = ball(centre, radius, inside)

    def norm(self, step):
        return jnp.sum(jnp.abs(step), axis=-1, keepdims=True)

    def size(self):
        return self.radius

    def shrink(self, size, cap, radius):
        return soften(size, cap, radius)


def soften(v: Sizes, cap: Sizes, total: Float[Array, ""]) -> Sizes:
    """clip(v - k, 0, cap) along the last axis, with k such that they sum to `total`.

    If the sum of clip(v, 0, cap) exceeds `total`, it is the point nearest to v of
    {0 <= x <= cap, sum x <= total}.
    """

    def excess(v, cap, total, k):
        above = v - k
        free = (above > 0) & (above < cap)
        count = jnp.sum(free, axis=-1, keepdims=True).astype(v.dtype)
        return jnp.sum(jnp.clip(above, 0, cap), axis=-1, keepdims=True) - total, count

    def at(k):
        over, count = excess(*still, k)
        return over > 0, k + over / jnp.where(count > 0, count, jnp.nan)

    still = lax.stop_gradient((v, cap, total))
    low = jnp.zeros_like(still[0][..., :1])
    high = jnp.maximum(jnp.max(still[0], axis=-1, keepdims=True), 0)
    k = crossing(at, low, low, high)
    # One step more, for the derivative, and because v - k is more exact than k if both are large.
    over, count = excess(v, cap, total, k)
    return jnp.clip(v - k - jnp.where(count > 0, over / jnp.maximum(count, 1), 0), 0, cap)
