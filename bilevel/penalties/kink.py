"""Separable penalties with one kink per coordinate, at zero, for coordinate-wise solvers."""

import abc

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._penalty import AbstractPenalty, Slopes


class AbstractKink(AbstractPenalty):
    """p(w) = sum_j high_j max(w_j, 0) + low_j min(w_j, 0) + 1/2 bend_j w_j^2, low <= 0 <= high.

    A face has the sign of each coordinate. Coordinates that are not zero are free, and so are those
    without a kink (low = high = 0).
    """

    separable = True

    @abc.abstractmethod
    def kink(self) -> tuple[Slopes, Slopes]:
        """(low, high): slopes on either side of zero; low may be minus infinity."""

    def bend(self) -> Float[Array, " d"] | None:
        """Curvature of the quadratic part; None if it is zero for all coordinates."""
        return None

    def slope(self, face: Int[Array, " d"]) -> Slopes:
        """Slope of the part without curvature, along a face."""
        low, high = self.kink()
        return jnp.where(face > 0, high, jnp.where(face < 0, low, 0))

    def prox(self, v, t):
        low, high = self.kink()
        u = jnp.where(v > t * high, v - t * high, jnp.where(v < t * low, v - t * low, 0))
        bend = self.bend()
        return u if bend is None else u / (1 + t * bend)

    def unkinked(self) -> Bool[Array, " d"]:
        """Which coordinates have no kink."""
        low, high = self.kink()
        return high <= low

    def face(self, w):
        sign = jnp.sign(w).astype(jnp.int8)
        return jnp.where((sign == 0) & self.unkinked(), jnp.int8(1), sign)

    def free(self, face):
        return face != 0

    def fixed(self, face):
        return jnp.zeros(face.shape, self.kink()[1].dtype)

    def smooth(self, w, face):
        bend = self.bend()
        linear = jnp.sum(self.slope(face) * w)
        return linear if bend is None else linear + 0.5 * jnp.sum(bend * w * w)

    def slack(self, w, slope, face):
        low, high = self.kink()
        on = self.free(face)
        inside = jnp.where(
            on, jnp.where(self.unkinked(), jnp.inf, w * face.astype(w.dtype)), jnp.inf
        )
        return inside, jnp.where(on, jnp.inf, jnp.minimum(slope + high, -(slope + low)))
