"""Insertion of rows and their targets."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bilevel import Data, append

from ..domains import AbstractDomain
from ._capability import AbstractCapability, require_shapes, row_scale, row_weights, steepest


class XY(NamedTuple):
    """Rows x (m, ...) and targets y (m,)."""

    x: Float[Array, "m ..."]
    y: Float[Array, " m"]


class InsertXY(AbstractCapability):
    """Insert rows with targets, z = XY(x, y), after the clean rows, for regression (Jagielski et
    al., IEEE S&P 2018).

    - `rows`: the number m of rows, >= 1; otherwise `ValueError`.
    - `domain`: of x (m, ...). `targets`: domain of y (m,).
    - `weight` (m,): by default ones. A row of weight zero has no effect: attacks with up to m rows
      can share a compiled program.
    """

    rows: int = eqx.field(static=True)
    domain: AbstractDomain
    targets: AbstractDomain
    weight: Float[Array, " m"]
    keeps_rows = True

    def __init__(self, rows: int, domain: AbstractDomain, targets: AbstractDomain, weight=None):
        if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
            raise ValueError(f"rows: got {rows!r}, expected the number of rows to insert, >= 1")
        self.rows, self.domain, self.targets = rows, domain, targets
        self.weight = row_weights(weight, (rows,))

    def check(self, data: Data) -> None:
        if not jnp.issubdtype(data.y.dtype, jnp.floating):
            raise ValueError(
                f"y: got {data.y.dtype} labels, expected floating targets, which InsertXY moves; "
                "give y as floats, or insert rows with fixed labels by Insert"
            )
        expected = self.shapes(data)
        self.domain.check(expected.x.shape)
        self.targets.check(expected.y.shape, "targets")

    def shapes(self, data: Data) -> XY:
        def zeros():
            shape = self.rows, *data.x.shape[1:]
            return XY(jnp.zeros(shape, data.x.dtype), jnp.zeros(self.rows, data.y.dtype))

        return jax.eval_shape(zeros)

    def inject(self, z: XY, data: Data) -> Data:
        require_shapes("z", z, self.shapes(data))
        weight = self.weight.astype(data.weight.dtype)
        return append(data, self.domain.place(z.x), self.targets.place(z.y), weight)

    def places(self, data):
        return data.rows + np.arange(self.rows)

    def units(self, z):
        return XY(self.domain.units(z.x), self.targets.units(z.y))

    def direction(self, gradient):
        return steepest(gradient, self.units(gradient), self.weight)

    def scale(self, z, data):
        return row_scale(self.domain, z.x, data)

    def project(self, z: XY) -> XY:
        return XY(self.domain.project(z.x), self.targets.project(z.y))
