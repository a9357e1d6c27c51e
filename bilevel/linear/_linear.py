"""The contract of linear solvers, and how a failed answer leaves: as NaN."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .._tree import norm, tree_sub

Operator = Callable[[PyTree], PyTree]


class AbstractLinearSolver(eqx.Module):
    """Answers A v = r given the product with A and the solver's own factorisation of it."""

    @abc.abstractmethod
    def solve(self, matvec: Operator, backsolve: Operator, rhs: PyTree) -> PyTree:
        """Return v. Wrong answers are not allowed out: NaN where the system was not solved."""


def nan_if(failed: Array, v: PyTree) -> PyTree:
    """NaN instead of a silently wrong adjoint."""
    return jax.tree.map(lambda leaf: jnp.where(failed, jnp.nan, leaf), v)


def guard(matvec: Operator, rhs: PyTree, v: PyTree, tolerance: float) -> PyTree:
    return nan_if(~(norm(tree_sub(rhs, matvec(v))) <= tolerance * norm(rhs)), v)


def loose(rhs: PyTree) -> float:
    """Relative residual beyond which an answer counts as failed rather than inexact."""
    return float(jnp.finfo(jax.tree.leaves(rhs)[0].dtype).eps) ** 0.5
