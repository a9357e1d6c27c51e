"""Change the rows that the finished model is shown, and nothing of the training."""

import jax
from jaxtyping import Array, Float

from bilevel import Data

from ..domains import AbstractDomain
from ._capability import AbstractCapability, require_shapes, row_scale, steepest


class Evade(AbstractCapability):
    """Show rows z (n, ...) inside a domain, for example a ball around the rows `x` (n, ...), in
    the place of x: evasion (Biggio et al. 2013, Madry et al. 2018).

    With `learners.Fixed(model)` nothing is trained; with another learner the model is trained on
    the clean rows. Score by `goals.shown`, whose rows are those of x, in their order.
    """

    x: Float[Array, "n ..."]
    domain: AbstractDomain
    keeps_rows = True

    def check(self, data: Data) -> None:
        self.domain.check(self.x.shape)

    def shapes(self, data: Data) -> jax.ShapeDtypeStruct:
        del data
        return jax.ShapeDtypeStruct(self.x.shape, self.x.dtype)

    def example(self, data: Data) -> Float[Array, "n ..."]:
        """The rows as they are, or the nearest in the domain."""
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
