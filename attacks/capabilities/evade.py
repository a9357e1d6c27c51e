"""Changes of the rows that the trained model predicts, not of the training."""

import jax
from jaxtyping import Array, Float

from bilevel import Data

from ..domains import AbstractDomain
from ._capability import AbstractCapability, require_shapes, row_scale, steepest


class Evade(AbstractCapability):
    """Present rows z (n, ...) rather than x: evasion (Biggio et al. 2013, Madry et al. 2018).

    - `x` (n, ...): the rows to replace.
    - `domain`: of z, for example a ball around x.

    With `learners.Fixed(model)` nothing is trained; another learner is trained on the clean rows.
    The goal is `goals.shown`, with the rows of x in the same order.
    """

    x: Float[Array, "n ..."]
    domain: AbstractDomain
    keeps_rows = True

    def check(self, data: Data) -> None:
        del data
        self.domain.check(self.x.shape)

    def shapes(self, data: Data) -> jax.ShapeDtypeStruct:
        del data
        return jax.ShapeDtypeStruct(self.x.shape, self.x.dtype)

    def example(self, data: Data) -> Float[Array, "n ..."]:
        """The rows x, or the nearest in the domain."""
        del data
        return self.project(self.x)

    def present(self, z, x, *, key=None):
        del key
        require_shapes("z", z, jax.ShapeDtypeStruct(x.shape, x.dtype))
        return self.domain.place(z)

    def project(self, z):
        return self.domain.project(z)

    def units(self, z):
        return self.domain.units(z)

    def direction(self, gradient):
        return self.domain.direction(steepest(gradient, self.units(gradient)), gradient)

    def scale(self, z, data):
        return row_scale(self.domain, z, data)
