"""The contract between an inner problem, its solver and the derivative."""

import abc
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, Int, PyTree


class Point(eqx.Module):
    """Where a solver ended. Nothing in it carries a derivative.

    - `unknowns`: u with `conditions(problem, u, frozen) == 0`.
    - `frozen`: what stays fixed under differentiation: active sets and the factorisation of the
      Jacobian of the conditions, which then serves every cotangent.
    - `warm`: start for the next solve of a nearby problem.
    """

    unknowns: PyTree
    frozen: PyTree
    warm: PyTree
    result: Int[Array, ""]
    stats: dict[str, Any]


class AbstractSolver(eqx.Module):
    """Knows how to reach the minimiser of one kind of problem, and states what it satisfies.

    - `symmetric`: the Jacobian of `conditions` in the unknowns is symmetric, as the (reduced) KKT
      matrix of a minimisation is; a solver of other problems says False and can solve both ways.
    - `converges`: the answer is the minimiser, wherever the solver starts. False for a path of a
      given number of steps: another start is another answer, so it takes no warm start.
    """

    symmetric: ClassVar[bool] = True
    converges: ClassVar[bool] = True

    @abc.abstractmethod
    def cold(self, problem: PyTree) -> PyTree:
        """The warm start that stands for none. Only shapes of `problem` are looked at."""

    @abc.abstractmethod
    def run(self, problem: PyTree, warm: PyTree) -> Point:
        """Solve. `problem` arrives with its derivatives stopped."""

    @abc.abstractmethod
    def conditions(self, problem: PyTree, unknowns: PyTree, frozen: PyTree) -> PyTree:
        """Residual with the structure of `unknowns`, zero at the solution, differentiable."""

    @abc.abstractmethod
    def value(self, problem: PyTree, unknowns: PyTree, frozen: PyTree) -> PyTree:
        """What the user asked for, as a differentiable function of problem and unknowns."""

    @abc.abstractmethod
    def backsolve(self, problem: PyTree, frozen: PyTree, rhs: PyTree) -> PyTree:
        """Apply the kept factorisation: an (approximate) inverse of the conditions' Jacobian."""

    def backsolve_transposed(self, problem: PyTree, frozen: PyTree, rhs: PyTree) -> PyTree:
        """Apply the transpose of that inverse."""
        return self.backsolve(problem, frozen, rhs)

    @abc.abstractmethod
    def slack(self, problem: PyTree, unknowns: PyTree, frozen: PyTree) -> Array:
        """Distances to the next change of active set, one per inequality; may be empty."""
