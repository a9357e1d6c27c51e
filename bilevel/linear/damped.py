"""A damped adjoint system, for minimisers that are none yet."""

import jax
from jaxtyping import PyTree

from .._tree import tree_add
from ._linear import AbstractLinearSolver, Operator
from .cg import CG


class Damped(AbstractLinearSolver):
    """v = (A + shift I)^-1 r by another solver, for a Hessian A with eigenvalues near zero or
    below, as that of a network (Koh & Liang 2017).

    An approximation: the certificate reports its residual in the undamped system.

    - `solver`: of the damped system.
    - `shift`: > 0, and above the size of A's most negative eigenvalue; otherwise `CG` gives NaN.

    Raises `ValueError` for a shift out of range.
    """

    solver: AbstractLinearSolver = CG(precondition=False)
    shift: float = 1e-2

    def __check_init__(self):
        if not self.shift > 0:
            raise ValueError(f"shift: got {self.shift}, expected a positive number")

    def solve(self, matvec: Operator, backsolve: Operator, rhs: PyTree) -> PyTree:
        def damped(v):
            return tree_add(matvec(v), jax.tree.map(lambda leaf: self.shift * leaf, v))

        return self.solver.solve(damped, backsolve, rhs)
