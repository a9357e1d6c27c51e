"""l-infinity balls."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._ball import AbstractBall, ball
from .box import Box


class LinfBall(AbstractBall):
    """|x_ij - centre_ij| <= radius for all features j of each row i, inside a box.

    - `centre` (m, ...), `radius` > 0, `inside`: a `Box` that contains the centre.
    """

    centre: Float[Array, "m ..."]
    radius: Float[Array, ""]
    inside: Box

    def __init__(self, centre, radius, inside: Box | None = None):
        self.centre, self.radius, self.inside = ball(centre, radius, inside)

    def norm(self, step):
        return jnp.max(jnp.abs(step), axis=-1, keepdims=True)

    def direction(self, steepest, gradient):
        """The sign of the gradient (Goodfellow et al. 2015), which moves all features equally."""
        del steepest
        return jnp.sign(gradient) / math.prod(gradient.shape[1:]) ** 0.5

    def size(self):
        return self.radius * math.prod(self.centre.shape[1:]) ** 0.5

    def shrink(self, size, cap, radius):
        return jnp.minimum(jnp.minimum(size, cap), radius)
