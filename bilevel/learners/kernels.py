"""Kernels: k(a, b) for all pairs of rows."""

import abc
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from .._tree import concrete


class Columns(eqx.Module):
    """Rows without (most of) the features that are zero in all of them: image borders, absent
    words. `used` has the numbers of the others. Padding repeats feature 0 with value 0.
    """

    x: Float[Array, "n k"]
    used: Int[Array, " k"]

    def __matmul__(self, w: Float[Array, " d"]) -> Float[Array, " n"]:
        return self.x @ w[self.used]


class Crossed(eqx.Module):
    """Rows with their kernel values against the first block of an expansion."""

    x: Float[Array, "n d"]
    gram: Float[Array, "n k"]


Terms = Sequence[tuple[Float[Array, "_ d"], Float[Array, " _"]]]


class AbstractKernel(eqx.Module):
    """A positive semi-definite function k of two rows. Its parameters are differentiable leaves."""

    @abc.abstractmethod
    def gram(self, a: Float[Array, "n d"], b: Float[Array, "m d"]) -> Float[Array, "n m"]:
        """The matrix of k(a_i, b_j)."""

    def origin(self, x: Float[Array, "n d"], weight: Float[Array, " n"]) -> Array | None:
        """A point (d,) that an SVM may subtract from all rows, because only its bias changes. None,
        the default, if the kernel depends on the origin, or takes care of it.
        """
        del x, weight

    def expand(self, at: PyTree, terms: Terms) -> Float[Array, " n"]:
        """sum_j coef_j k(at_i, x_j), over blocks of rows (x, coef); `at` (n, d) or prepared."""
        if isinstance(at, Crossed):
            (_, coef), *terms = terms
            return sum((self.gram(at.x, x) @ c for x, c in terms), at.gram @ coef)
        (x, coef), *terms = terms
        return sum((self.gram(at, x) @ c for x, c in terms), self.gram(at, x) @ coef)

    def prepare(self, at: Float[Array, "n d"], known: Float[Array, "k d"]) -> PyTree:
        """Rows for repeated evaluation of expansions whose first block is `known`."""
        return Crossed(at, self.gram(at, known))


class Linear(AbstractKernel):
    """k(a, b) = a'b."""

    def gram(self, a, b):
        # Not a @ b.T: for one row XLA sums a transposed copy of b entry by entry on a CPU.
        return jnp.inner(a, b)

    def origin(self, x, weight):
        # Far from the origin products of rows are large, and their differences are rounding.
        total = jnp.sum(weight)
        # A constant: the model does not depend on it, and rows that support nothing keep a
        # derivative of exactly zero.
        return lax.stop_gradient(weight @ x / jnp.where(total > 0, total, 1))

    def expand(self, at, terms):
        (x, coef), *terms = terms  # the expansion has a weight vector
        return at @ sum((c @ x for x, c in terms), coef @ x)

    def prepare(self, at, known):
        if not concrete(at):
            return at
        rows = np.asarray(at)
        used = np.flatnonzero(np.any(rows != 0, axis=0))
        width = -(-used.size // 64) * 64  # few widths, hence few compilations
        if width >= rows.shape[1]:
            return at
        columns = np.pad(used, (0, width - used.size))
        x = np.take(rows, columns, axis=1, mode="clip")
        x[:, used.size :] = 0
        return Columns(jnp.asarray(x), jnp.asarray(columns))


class RBF(AbstractKernel):
    """k(a, b) = exp(-gamma |a - b|^2). `gamma` > 0 is a number; otherwise `ValueError`."""

    gamma: Float[Array, ""]

    def __init__(self, gamma):
        _positive("gamma", gamma)
        self.gamma = jnp.asarray(gamma, float)

    def gram(self, a, b):
        # Distances do not depend on the origin, but their rounding does. No clipping at zero: it
        # would make the derivative on the diagonal wrong, where its terms cancel.
        centre = lax.stop_gradient(jnp.mean(b, axis=0, keepdims=True))
        a, b = a - centre, b - centre
        squares = jnp.sum(a * a, axis=1)[:, None] + jnp.sum(b * b, axis=1)[None, :]
        return jnp.exp(-self.gamma * (squares - 2 * jnp.inner(a, b)))


class Polynomial(AbstractKernel):
    """k(a, b) = (gamma a'b + coef0)^degree.

    `degree` is a whole number >= 1, `gamma` > 0, `coef0` any number; otherwise `ValueError`.
    """

    degree: Float[Array, ""]
    gamma: Float[Array, ""]
    coef0: Float[Array, ""]

    def __init__(self, degree=3, gamma=1.0, coef0=1.0):
        if concrete(degree) and (degree < 1 or degree != int(degree)):
            raise ValueError(f"degree: got {degree}, expected a whole number >= 1")
        _positive("gamma", gamma)
        self.degree = jnp.asarray(degree, float)
        self.gamma = jnp.asarray(gamma, float)
        self.coef0 = jnp.asarray(coef0, float)

    def gram(self, a, b):
        base = self.gamma * jnp.inner(a, b) + self.coef0
        return power(base, jnp.broadcast_to(self.degree.astype(base.dtype), base.shape))


@jax.custom_jvp
def power(base: Array, degree: Array) -> Array:
    """base^degree for whole degrees, also of a negative base, and for degrees near them."""
    odd = (base < 0) & (jnp.round(degree) % 2 == 1)
    return jnp.where(odd, -1, 1).astype(base.dtype) * jnp.abs(base) ** degree


@power.defjvp
def _power_jvp(primals, tangents):
    base, degree = primals
    t_base, t_degree = tangents
    value = power(base, degree)
    log = jnp.log(jnp.where(base == 0, 1, jnp.abs(base)))
    return value, degree * power(base, degree - 1) * t_base + value * log * t_degree


def _positive(name: str, value) -> None:
    if concrete(value) and not (np.ndim(value) == 0 and 0 < float(value) < np.inf):
        raise ValueError(f"{name}: got {value}, expected a positive number")


class Custom(AbstractKernel):
    """The kernel `function(a, b) -> (n, m)`, for rows a (n, d) and b (m, d)."""

    function: Callable[[Array, Array], Array]

    def gram(self, a, b):
        return self.function(a, b)
