"""The interface of linear solvers. A failed answer is NaN."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .._tree import norm, tree_sub

Operator = Callable[[PyTree], PyTree]


class AbstractLinearSolver(eqx.Module):
    """Solves A v = r, given the product with A and the inner solver's factorisation of A."""

    @abc.abstractmethod
    def solve(self, matvec: Operator, backsolve: Operator, rhs: PyTree) -> PyTree:
        """v, or NaN if the system was not solved: a wrong answer is never returned.

        - `matvec`: v -> A v. `backsolve`: r -> A^-1 r, perhaps approximate. `rhs`: r.
        """


def nan_if(failed: Array, v: PyTree) -> PyTree:
    """v, or NaN if `failed`."""
    return jax.tree.map(lambda leaf: jnp.where(failed, jnp.nan, leaf), v)


def guard(matvec: Operator, rhs: PyTree, v: PyTree, tolerance: float) -> PyTree:
    """v, or NaN unless |rhs - A v| <= tolerance |rhs|."""
    return nan_if(~(norm(tree_sub(rhs, matvec(v))) <= tolerance * norm(rhs)), v)


def loose(rhs: PyTree) -> float:
    """Relative residual above which an answer is a failure: sqrt(eps)."""
    return float(jnp.finfo(jax.tree.leaves(rhs)[0].dtype).eps) ** 0.5
