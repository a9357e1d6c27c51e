"""The contract of domains."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Values = Float[Array, "*shape"]
"""Rows (m, d), or targets (m,): whatever shape `check` accepted."""


class AbstractDomain(eqx.Module):
    """Which values are valid, and a convex set around them, in which an attack takes its steps."""

    @abc.abstractmethod
    def check(self, shape: tuple[int, ...], name: str = "domain") -> None:
        """ValueError with a sentence, about `name`, if this domain holds no values of a shape."""

    @abc.abstractmethod
    def project(self, z: Values) -> Values:
        """The nearest point of the convex set."""

    @abc.abstractmethod
    def place(self, z: Values) -> Values:
        """A valid point near a z of the convex set; its derivative in z is the identity, save in
        features that cannot move, where it is zero.
        """

    def units(self, z: Values) -> Values:
        """What a change of each entry is measured in: the width of its interval, else one."""
        return jnp.ones_like(z)

    def direction(self, steepest: Values, gradient: Values) -> Values:
        """The direction that suits the shape of the set: `steepest`, along the gradient, unless
        the set has corners in every row.
        """
        del gradient
        return steepest

    def size(self) -> Float[Array, ""]:
        """How far a row can go, in `units`; infinite by default, for sets as wide as the data."""
        return jnp.asarray(jnp.inf)

    def outside(self, x: Values) -> float:
        """The largest change of a value by placing (concrete) `x`: 0 if valid, up to rounding."""
        gap = jnp.abs(x - self.place(self.project(x)))
        return float(jnp.max(jnp.where(jnp.isnan(gap), jnp.inf, gap)))


def straight_through(z: Values, valid: Values) -> Values:
    """The values of `valid`, to the bit, with the derivative of z (finite)."""
    return lax.stop_gradient(valid) + (z - lax.stop_gradient(z))
