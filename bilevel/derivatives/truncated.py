"""The last steps of a path only: truncated back-propagation and one-step differentiation."""

from jaxtyping import PyTree

from .._iteration import AbstractIteration, advance
from .._solver import AbstractSolver, Point
from .._tree import stop_gradient
from ._derivative import AbstractDerivative
from .unroll import arrival, iteration, path


class Truncated(AbstractDerivative):
    """Differentiate the last `last` steps and take the state before them as given.

    `last=1` is one-step differentiation (Bolte, Pauwels & Vaiter 2023); more is truncated
    back-propagation (Shaban et al. 2019). On a contraction of rate r the error is of order
    r^last. It stays an approximation however long the path: near a minimiser, gradient descent's
    truncation is a Neumann series of `last` terms.
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
