"""Changes of given training rows."""

import equinox as eqx
import jax
from jaxtyping import Array, Float, Int

from bilevel import Data

from ..domains import AbstractDomain
from ._capability import (
    AbstractCapability,
    indices,
    require_rows,
    require_shapes,
    row_scale,
    steepest,
)


class Perturb(AbstractCapability):
    """Replace training rows by z (k, ...). Labels, weights and all other rows stay.

    - `rows`: indices (k,) of the rows, k >= 1 different integers; otherwise `ValueError`.
    - `domain`: of z, for example a ball around the rows.
    """

    rows: Int[Array, " k"]
    domain: AbstractDomain

    def __init__(self, rows, domain: AbstractDomain):
        self.rows, self.domain = indices(rows), domain

    def check(self, data: Data) -> None:
        require_rows(self.rows, data)
        self.domain.check(self.shapes(data).shape)

    def shapes(self, data: Data) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((self.rows.shape[0], *data.x.shape[1:]), data.x.dtype)

    def example(self, data: Data) -> Float[Array, "k ..."]:
        """The clean rows, or the nearest in the domain."""
        return self.project(data.x[self.rows])

    def inject(self, z: Float[Array, "k ..."], data: Data) -> Data:
        require_shapes("z", z, self.shapes(data))
        return eqx.tree_at(lambda d: d.x, data, data.x.at[self.rows].set(self.domain.place(z)))

    def places(self, data):
        del data
        return self.rows

    def units(self, z):
        return self.domain.units(z)

    def direction(self, gradient):
        return self.domain.direction(steepest(gradient, self.units(gradient)), gradient)

    def scale(self, z, data):
        return row_scale(self.domain, z, data)

    def project(self, z: Float[Array, "k ..."]) -> Array:
        return self.domain.project(z)
