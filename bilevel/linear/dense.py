"""LU of the materialised matrix."""

import jax
import lineax as lx
from jaxtyping import PyTree

from ._linear import AbstractLinearSolver, Operator, guard, loose


class Dense(AbstractLinearSolver):
    """Materialise A by products with unit vectors and factorise it by LU.

    For small systems, and as a reference: it does not use the inner solver's factorisation. The
    answer is NaN if its relative residual is above sqrt(eps).
    """

    def solve(self, matvec: Operator, backsolve: Operator, rhs: PyTree) -> PyTree:
        operator = lx.FunctionLinearOperator(matvec, jax.eval_shape(lambda: rhs))
        v = lx.linear_solve(operator, rhs, lx.LU(), throw=False).value
        return guard(matvec, rhs, v, loose(rhs))
