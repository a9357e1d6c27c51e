"""Kernels: k(a, b) for all pairs of rows."""

import abc
from collections.abc import Callable, Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

Terms = Sequence[tuple[Float[Array, "m d"], Float[Array, " m"]]]


class AbstractKernel(eqx.Module):
    """A positive semi-definite function of two rows. Its parameters are differentiable leaves."""

    @abc.abstractmethod
    def gram(self, a: Float[Array, "n d"], b: Float[Array, "m d"]) -> Float[Array, "n m"]:
        """k(a_i, b_j)."""

    def expand(self, at: Float[Array, "n d"], terms: Terms) -> Float[Array, " n"]:
        """sum_j coef_j k(at_i, x_j), over blocks of rows (x, coef)."""
        return sum(self.gram(at, x) @ coef for x, coef in terms)


class Linear(AbstractKernel):
    """k(a, b) = a'b."""

    def gram(self, a, b):
        return a @ b.T

    def expand(self, at, terms):
        return at @ sum(coef @ x for x, coef in terms)  # the one kernel with a weight vector


class RBF(AbstractKernel):
    """k(a, b) = exp(-gamma |a - b|^2)."""

    gamma: Float[Array, ""]

    def __init__(self, gamma):
        self.gamma = jnp.asarray(gamma, float)

    def gram(self, a, b):
        # No clipping at zero: it would spoil the derivative on the diagonal, where it cancels.
        squares = jnp.sum(a * a, axis=1)[:, None] + jnp.sum(b * b, axis=1)[None, :]
        return jnp.exp(-self.gamma * (squares - 2 * a @ b.T))


class Polynomial(AbstractKernel):
    """k(a, b) = (gamma a'b + coef0)^degree."""

    degree: int = eqx.field(static=True)
    gamma: Float[Array, ""]
    coef0: Float[Array, ""]

    def __init__(self, degree: int = 3, gamma=1.0, coef0=1.0):
        if degree < 1:
            raise ValueError(f"degree: got {degree}, expected a whole number >= 1")
        self.degree = degree
        self.gamma = jnp.asarray(gamma, float)
        self.coef0 = jnp.asarray(coef0, float)

    def gram(self, a, b):
        return (self.gamma * (a @ b.T) + self.coef0) ** self.degree


class Custom(AbstractKernel):
    """A kernel of your own: `function(a, b) -> (n, m)` for rows a (n, d) and b (m, d)."""

    function: Callable[[Array, Array], Array]

    def gram(self, a, b):
        return self.function(a, b)
