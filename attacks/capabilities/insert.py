"""Insertion of rows with fixed labels."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from bilevel import Data, append
from bilevel.tools import require_finite

from ..domains import AbstractDomain
from ._capability import AbstractCapability, require_shapes, row_scale, row_weights, steepest


class Insert(AbstractCapability):
    """Insert rows z (m, ...) after the clean rows.

    - `labels` (m,): of the rows; fixed.
    - `domain`: of the rows.
    - `weight` (m,): by default ones. A row of weight zero has no effect: attacks with up to m rows
      can share a compiled program.

    Raises `ValueError` for shapes that do not match and for NaN.
    """

    labels: Shaped[Array, " m"]
    domain: AbstractDomain
    weight: Float[Array, " m"]
    keeps_rows = True

    def __init__(self, labels, domain: AbstractDomain, weight=None):
        self.labels = jnp.asarray(labels)
        self.domain = domain
        if self.labels.ndim != 1 or self.labels.shape[0] == 0:
            raise ValueError(
                f"labels: got shape {self.labels.shape}, expected (m,) with one label per poison "
                "row and m >= 1"
            )
        require_finite(labels=self.labels)
        self.weight = row_weights(weight, self.labels.shape)

    def check(self, data: Data) -> None:
        self.domain.check(self.shapes(data).shape)

    def shapes(self, data: Data) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((self.labels.shape[0], *data.x.shape[1:]), data.x.dtype)

    def inject(self, z: Float[Array, "m ..."], data: Data) -> Data:
        require_shapes("z", z, self.shapes(data))
        weight = self.weight.astype(data.weight.dtype)
        return append(data, self.domain.place(z), self.labels, weight)

    def places(self, data):
        return data.rows + np.arange(self.labels.shape[0])

    def units(self, z):
        return self.domain.units(z)

    def direction(self, gradient):
        return steepest(gradient, self.units(gradient), self.weight)

    def scale(self, z, data):
        return row_scale(self.domain, z, data)

    def project(self, z: Float[Array, "m ..."]) -> Array:
        return self.domain.project(z)
