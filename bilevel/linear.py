"""Linear solvers for the adjoint system A v = r of the implicit derivative, A symmetric."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, PyTree

from ._tree import norm, tree_add, tree_sub

Operator = Callable[[PyTree], PyTree]


class AbstractLinearSolver(eqx.Module):
    """Answers A v = r given the product with A and the solver's own factorisation of it."""

    @abc.abstractmethod
    def solve(self, matvec: Operator, backsolve: Operator, rhs: PyTree) -> PyTree:
        """Return v. Wrong answers are not allowed out: NaN where the system was not solved."""


def _nan_if(failed: Array, v: PyTree) -> PyTree:
    """NaN instead of a silently wrong adjoint."""
    return jax.tree.map(lambda leaf: jnp.where(failed, jnp.nan, leaf), v)


def _guard(matvec: Operator, rhs: PyTree, v: PyTree, tolerance: float) -> PyTree:
    return _nan_if(norm(tree_sub(rhs, matvec(v))) > tolerance * norm(rhs), v)


def _loose(rhs: PyTree) -> float:
    """Relative residual beyond which an answer counts as failed rather than inexact."""
    return float(jnp.finfo(jax.tree.leaves(rhs)[0].dtype).eps) ** 0.5


class Factor(AbstractLinearSolver):
    """Reuse the factorisation the inner solver ended with, refined while that helps.

    One back-substitution per cotangent if the factor is that of the solution; a few more if it
    is a little stale, or had to be regularised. The right choice unless no factor is kept.
    """

    max_refinements: int = 30

    def solve(self, matvec: Operator, backsolve: Operator, rhs: PyTree) -> PyTree:
        # One body for the first solve and the refinements: one back-substitution to compile.
        def body(state):
            v, left, size, steps, _ = state
            new = tree_add(v, backsolve(left))
            new_left = tree_sub(rhs, matvec(new))
            new_size = norm(new_left)
            better = new_size < size
            v, left = jax.tree.map(lambda a, b: jnp.where(better, a, b), (new, new_left), (v, left))
            worth = (new_size < 0.5 * size) & (new_size > floor)
            return v, left, jnp.minimum(new_size, size), steps + 1, worth

        def go(state):
            return state[4] & (state[3] <= self.max_refinements)

        size = norm(rhs)
        floor = 4 * jnp.finfo(size.dtype).eps * size
        zero = jax.tree.map(jnp.zeros_like, rhs)
        start = (zero, rhs, size, jnp.int32(0), size > 0)
        v, _, left, _, _ = jax.lax.while_loop(go, body, start)
        return _nan_if(left > _loose(rhs) * size, v)


class Dense(AbstractLinearSolver):
    """Materialise A by products with unit vectors and factorise it anew (LU). For small systems
    and as an oracle: it trusts nothing but the conditions.
    """

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
        return _guard(matvec, rhs, v, max(100 * self.tol, _loose(rhs)))
