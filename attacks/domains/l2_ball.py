"""l2 balls."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ._ball import AbstractBall, ball
from ._crossing import crossing
from .box import Box


class L2Ball(AbstractBall):
    """sum_j (x_ij - centre_ij)^2 <= radius^2 for each row i, inside a box. See `AbstractBall`.

    - `centre` (m, ...), `radius` > 0, `inside`: a `Box` that contains the centre.
    """

    centre: Float[Array, "m ..."]
    radius: Float[Array, ""]
    inside: Box

    def __init__(self, centre, radius, inside: Box | None = None):
        self.centre, self.radius, self.inside = ball(centre, radius, inside)

    def norm(self, step):
        return jnp.sqrt(jnp.sum(step * step, axis=-1, keepdims=True))

    def size(self):
        return self.radius

    def shrink(self, size, cap, radius):
        """min(t size, cap) with t in (0, 1] such that its norm is the radius."""

        def faces(size, cap, radius, t):
            full = t * size >= cap
            kept = radius * radius - _squares(jnp.where(full, cap, 0))
            return kept, _squares(jnp.where(full, 0, size))

        def at(t):
            kept, free = faces(*still, t)
            return t * t * free < kept, _root(kept, free, jnp.nan)

        still = lax.stop_gradient((size, cap, radius))
        one = jnp.ones_like(still[0][..., :1])
        t = crossing(at, one, 0 * one, one)
        t = _root(*faces(size, cap, radius, t), t)
        return jnp.minimum(t * size, cap)


def _squares(a: Array) -> Array:
    return jnp.sum(a * a, axis=-1, keepdims=True)


def _root(kept: Array, free: Array, otherwise) -> Array:
    """sqrt(kept / free) if both are positive, else `otherwise`."""
    fine = (kept > 0) & (free > 0)
    ratio = jnp.where(fine, kept, 1) / jnp.where(fine, free, 1)
    return jnp.where(fine, jnp.sqrt(ratio), otherwise)
