"""Insertion of rows whose targets are near the predictions of a model."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bilevel import Data, append
from bilevel.learners import AbstractModel
from bilevel.tools import concrete

from ..domains import AbstractDomain, Box
from ._capability import AbstractCapability, require_shapes, row_scale, row_weights, steepest
from .insert_xy import XY, InsertXY


class InsertNear(AbstractCapability):
    """Insert rows x (m, d) with targets model(x) + radius * y, clipped to [low, high], where
    z = XY(x, y) with y (m,) in [-1, 1]. Residuals under `model` are at most `radius` before
    clipping: detectors of large residuals do not find such poison.

    - `rows`: the number m of rows. `domain`: of x.
    - `model`: of the predictions. `radius`: > 0, in units of the targets.
    - `low`, `high`: range of the targets, low < high.
    - `weight` (m,): by default ones; rows of weight zero have no effect.

    Raises `ValueError` for values out of range.
    """

    rows: int = eqx.field(static=True)
    domain: AbstractDomain
    model: AbstractModel
    radius: Float[Array, ""]
    low: float
    high: float
    weight: Float[Array, " m"]
    keeps_rows = True

    def __init__(
        self, rows: int, domain: AbstractDomain, model, radius, low=0.0, high=1.0, weight=None
    ):
        if not low < high:
            raise ValueError(f"low, high: got {low} and {high}, expected low < high")
        if concrete(radius) and not 0 < float(radius) < np.inf:
            raise ValueError(f"radius: got {radius}, expected a finite number > 0")
        self.rows, self.domain, self.model = self._free(rows, domain).rows, domain, model
        self.radius, self.low, self.high = jnp.asarray(radius, float), low, high
        self.weight = row_weights(weight, (rows,))

    @staticmethod
    def _free(rows: int, domain: AbstractDomain) -> InsertXY:
        return InsertXY(rows, domain, Box(-1.0, 1.0))

    def check(self, data: Data) -> None:
        self._free(self.rows, self.domain).check(data)

    def shapes(self, data: Data) -> XY:
        return self._free(self.rows, self.domain).shapes(data)

    def inject(self, z: XY, data: Data) -> Data:
        require_shapes("z", z, self.shapes(data))
        x = self.domain.place(z.x)
        y = self.model.decision(x) + self.radius.astype(z.y.dtype) * z.y
        weight = self.weight.astype(data.weight.dtype)
        return append(data, x, jnp.clip(y, self.low, self.high), weight)

    def places(self, data):
        return data.rows + np.arange(self.rows)

    def units(self, z):
        """Those of the domain for rows; y is a share of the radius and has the unit one."""
        return XY(self.domain.units(z.x), jnp.ones_like(z.y))

    def direction(self, gradient):
        return steepest(gradient, self.units(gradient), self.weight)

    def scale(self, z, data):
        return row_scale(self.domain, z.x, data)

    def project(self, z: XY) -> XY:
        return self._free(self.rows, self.domain).project(z)
