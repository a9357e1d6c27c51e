"""Linear solvers for the adjoint system A v = r of the implicit derivative, A symmetric."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import PyTree

from ._tree import norm, tree_add, tree_sub

Operator = Callable[[PyTree], PyTree]


class AbstractLinearSolver(eqx.Module):
    """Answers A v = r given the product with A and the solver's own factorisation of it."""

    @abc.abstractmethod
    def solve(self, matvec: Operator, backsolve: Operator, rhs: PyTree) -> PyTree:
        """Return v. Wrong answers are not allowed out: NaN where the system was not solved."""


def _guard(matvec: Operator, rhs: PyTree, v: PyTree, tolerance: float) -> PyTree:
    """NaN instead of a silently wrong adjoint (PEERS: the field's commonest complaint)."""
    failed = norm(tree_sub(rhs, matvec(v))) > tolerance * norm(rhs)
    return jax.tree.map(lambda leaf: jnp.where(failed, jnp.nan, leaf), v)


def _loose(rhs: PyTree) -> float:
    """Relative residual beyond which an answer counts as failed rather than inexact."""
    return float(jnp.finfo(jax.tree.leaves(rhs)[0].dtype).eps) ** 0.25


class Factor(AbstractLinearSolver):
    """Reuse the factorisation the inner solver ended with, then refine: one back-substitution
    per cotangent. The right choice unless the inner solver keeps no factorisation."""

    refinements: int = 2

    def solve(self, matvec: Operator, backsolve: Operator, rhs: PyTree) -> PyTree:
        def refine(_, v):
            return tree_add(v, backsolve(tree_sub(rhs, matvec(v))))

        # a loop, not straight lines: one copy of the back-substitution to compile
        v = jax.lax.fori_loop(0, 1 + self.refinements, refine, jax.tree.map(jnp.zeros_like, rhs))
        return _guard(matvec, rhs, v, _loose(rhs))


class Dense(AbstractLinearSolver):
    """Materialise A by products with unit vectors and factorise it anew (LU). For small systems
    and as an oracle: it trusts nothing but the conditions."""

    def solve(self, matvec: Operator, backsolve: Operator, rhs: PyTree) -> PyTree:
        operator = lx.FunctionLinearOperator(matvec, jax.eval_shape(lambda: rhs))
        v = lx.linear_solve(operator, rhs, lx.LU(), throw=False).value
        return _guard(matvec, rhs, v, _loose(rhs))


class CG(AbstractLinearSolver):
    """Conjugate gradients, preconditioned by the inner solver's factorisation when asked.

    `tol` is the relative residual of A v = r itself, never of normal equations. A must be
    positive definite.
    """

    tol: float = 1e-12
    max_steps: int = 1000
    precondition: bool = True

    def solve(self, matvec: Operator, backsolve: Operator, rhs: PyTree) -> PyTree:
        structure = jax.eval_shape(lambda: rhs)
        tags = lx.positive_semidefinite_tag
        operator = lx.FunctionLinearOperator(matvec, structure, tags)
        options = {}
        if self.precondition:
            options = {"preconditioner": lx.FunctionLinearOperator(backsolve, structure, tags)}
        solver = lx.CG(rtol=self.tol, atol=0.0, max_steps=self.max_steps, norm=norm)
        v = lx.linear_solve(operator, rhs, solver, options=options, throw=False).value
        return _guard(matvec, rhs, v, max(100 * self.tol, _loose(rhs) ** 2))
