"""Intervals."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from bilevel.tools import program

from ._bounds import bounds, require_shape, spread, widths
from ._domain import AbstractDomain


class Box(AbstractDomain):
    """lower <= x <= upper.

    - `lower`, `upper`: () for all features, (d,) per feature, or (m, d) per feature and row;
      perhaps infinite. `ValueError` for NaN, lower > upper and shapes that do not match.
    """

    lower: Float[Array, "..."]
    upper: Float[Array, "..."]

    def __init__(self, lower, upper):
        self.lower, self.upper = bounds(lower, upper)

    def check(self, shape, name="domain"):
        require_shape(f"{name}.lower", self.lower, shape)
        require_shape(f"{name}.upper", self.upper, shape)

    @program
    def project(self, z):
        return jnp.clip(z, spread(self.lower, z), spread(self.upper, z))

    def units(self, z):
        return widths(self.lower, self.upper, z)

    def place(self, z):
        return z
