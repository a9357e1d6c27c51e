"""The contract of derivatives: how d w*/dz is computed, apart from how w* is reached."""

import abc

import equinox as eqx
from jaxtyping import PyTree

from .._solver import AbstractSolver, Point


class AbstractDerivative(eqx.Module):
    """Turns a solver and a problem into unknowns that can be differentiated in the problem."""

    @abc.abstractmethod
    def attach(self, solver: AbstractSolver, problem: PyTree, warm: PyTree) -> tuple[PyTree, Point]:
        """Return the unknowns with a derivative, and the point they come from, without one."""
