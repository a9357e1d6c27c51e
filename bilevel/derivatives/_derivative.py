"""The interface of derivatives: how d w*/dz is computed, apart from how w* is found."""

import abc

import equinox as eqx
from jaxtyping import PyTree

from .._solver import AbstractSolver, Point


class AbstractDerivative(eqx.Module):
    """Turns a solver and a problem into unknowns that are differentiable in the problem."""

    @abc.abstractmethod
    def attach(self, solver: AbstractSolver, problem: PyTree, warm: PyTree) -> tuple[PyTree, Point]:
        """(The unknowns, differentiable; the point that the solver found from `warm`, or from its
        cold start if None, without derivatives).
        """
