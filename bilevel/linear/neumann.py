"""A truncated Neumann series: the cheapest approximation of an adjoint."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from .._tree import norm, tree_add, tree_sub
from ._linear import AbstractLinearSolver, Operator


class Neumann(AbstractLinearSolver):
    """v = rate * sum of (I - rate A)^i r over the first `terms` (Lorraine, Vicol & Duvenaud 2020).

    An approximation: its residual, at most (1 - rate * smallest eigenvalue)^terms |r|, is reported
    by the certificate and is not checked. A must be positive definite.

    - `terms`: number of terms, >= 1. One term is the one-step approximation A ~ I / rate.
    - `rate`: between 0 and 2 / |A|; by default 1 / |A|, with |A| from ten power iterations.

    Raises `ValueError` for terms < 1 or a rate that is not > 0.
    """

    terms: int = 20
    rate: float | None = None

    def __check_init__(self):
        if self.terms < 1:
            raise ValueError(f"terms: got {self.terms}, expected at least 1")
        if self.rate is not None and not self.rate > 0:
            raise ValueError(f"rate: got {self.rate}, expected a positive number below 2 / |A|")

    def solve(self, matvec: Operator, backsolve: Operator, rhs: PyTree) -> PyTree:
        rate = 1 / _largest(matvec, rhs) if self.rate is None else self.rate

        def body(_, v):
            return tree_add(v, _scaled(tree_sub(rhs, matvec(v)), rate))

        return lax.fori_loop(1, self.terms, body, _scaled(rhs, rate))


def _scaled(tree: PyTree, factor: Array | float) -> PyTree:
    return jax.tree.map(lambda leaf: factor * leaf, tree)


def _largest(matvec: Operator, like: PyTree) -> Array:
    """Largest |eigenvalue|, from a start that does not depend on the right-hand side."""
    flat, unravel = ravel_pytree(like)
    start = unravel(jnp.cos(jnp.arange(flat.size, dtype=flat.dtype)))

    def body(_, state):
        x, size = state
        x = matvec(_scaled(x, 1 / jnp.where(size > 0, size, 1)))
        return x, norm(x)

    return lax.fori_loop(0, 10, body, (start, norm(start)))[1]
