"""The interface of domains."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from bilevel.tools import program

Values = Float[Array, "*shape"]
"""Rows (m, d) or targets (m,), of a shape that `check` accepts."""


class AbstractDomain(eqx.Module):
    """A set of valid values, and a convex set that contains them, in which attacks take steps."""

    @abc.abstractmethod
    def check(self, shape: tuple[int, ...], name: str = "domain") -> None:
        """ValueError about `name`, with a sentence, if values of this shape do not match."""

    @abc.abstractmethod
    def project(self, z: Values) -> Values:
        """The nearest point of the convex set."""

    @abc.abstractmethod
    def place(self, z: Values) -> Values:
        """A valid point near a z of the convex set. Its derivative in z is the identity; it is zero
        in fixed features.
        """

    def units(self, z: Values) -> Values:
        """Units of changes of each entry: the width of its interval, or one if it has none."""
        return jnp.ones_like(z)

    def direction(self, steepest: Values, gradient: Values) -> Values:
        """The direction of a step for the shape of the set: by default `steepest`, the scaled
        gradient.
        """
        del gradient
        return steepest

    def size(self) -> Float[Array, ""]:
        """The largest useful move of a row, in `units`; by default infinite."""
        return jnp.asarray(jnp.inf)

    def outside(self, x: Values) -> float:
        """The largest change of an entry of (concrete) x by `place`: 0 for valid x."""
        return float(_outside(self, x))


@program
def _outside(domain: AbstractDomain, x: Values) -> Float[Array, ""]:
    gap = jnp.abs(x - domain.place(domain.project(x)))
    return jnp.max(jnp.where(jnp.isnan(gap), jnp.inf, gap))


def straight_through(z: Values, valid: Values) -> Values:
    """The values of `valid`, exactly, with the derivative of z. z must be finite."""
    return lax.stop_gradient(valid) + (z - lax.stop_gradient(z))
