"""Conjugate gradients."""

import jax
import lineax as lx
from jaxtyping import PyTree

from .._tree import norm
from ._linear import AbstractLinearSolver, Operator, guard, loose


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
        return guard(matvec, rhs, v, max(100 * self.tol, loose(rhs)))
