"""Derivatives of the last steps of a path: truncated back-propagation, one-step derivatives."""

from jaxtyping import PyTree

from .._iteration import AbstractIteration, advance
from .._solver import AbstractSolver, Point
from .._tree import stop_gradient
from ._derivative import AbstractDerivative
from .unroll import arrival, iteration, path


class Truncated(AbstractDerivative):
    """Differentiate the last steps of a path; the state before them is a constant.

    - `last`: number of differentiated steps. 1 is one-step differentiation (Bolte, Pauwels & Vaiter
      2023), more is truncated back-propagation (Shaban et al. 2019).

    For a contraction of rate r the error is of order r^last, for paths of any length: near a
    minimiser, truncated gradient descent is a Neumann series of `last` terms. `argmin` raises
    `ValueError` unless `last` is from 1 to the solver's steps, `TypeError` for a solver that is not
    an iteration.
    """

    last: int = 1

    def attach(self, solver: AbstractSolver, problem: PyTree, warm: PyTree) -> tuple[PyTree, Point]:
        solver = iteration(solver)
        if not 1 <= self.last <= solver.steps:
            raise ValueError(
                f"last: got {self.last}, expected 1 to {solver.steps}, the solver's steps"
            )
        state = self._before(solver, stop_gradient(problem), warm)
        first = solver.steps - self.last
        return arrival(solver, problem, path(solver, problem, state, first, self.last, 1))

    def _before(self, solver: AbstractIteration, problem: PyTree, warm: PyTree) -> PyTree:
        warm = solver.cold(problem) if warm is None else stop_gradient(warm)
        state = solver.begin(problem, warm)
        return stop_gradient(advance(solver, problem, state, solver.steps - self.last))
