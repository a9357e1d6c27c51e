"""The interface between an inner problem, its solver and the derivative."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree


class Point(eqx.Module):
    """The point that a solver returns, without derivatives.

    - `unknowns`: u with `conditions(problem, u, frozen) == 0`.
    - `frozen`: constants of the derivative: active sets, and the factorisation of the Jacobian of
      the conditions, used for every cotangent.
    - `warm`: start of the next solve of a nearby problem.
    - `result`: int32 code, `CONVERGED` (0) or another of `bilevel.results`.
    - `stats`: counts (steps, residual, ...).
    """

    unknowns: PyTree
    frozen: PyTree
    warm: PyTree
    result: Int[Array, ""]
    stats: dict[str, Any]


class AbstractSolver(eqx.Module):
    """A solver of one kind of problem, and the conditions that its solution satisfies.

    - `symmetric`: the Jacobian of `conditions` in the unknowns is symmetric, as the (reduced) KKT
      matrix of a minimisation is. If False, `backsolve_transposed` must be implemented.
    - `solves`: the classes of problems that it accepts.
    - `converges`: the answer is the minimiser and does not depend on the start. False for a path of
      a given number of steps: its answer depends on the start, so it accepts no warm start.
    """

    symmetric: ClassVar[bool] = True
    solves: ClassVar[type | tuple[type, ...]] = object
    converges: ClassVar[bool] = True

    @abc.abstractmethod
    def cold(self, problem: PyTree) -> PyTree:
        """The cold start: the `warm` of a first solve. Only `problem`'s shapes may enter it."""

    @abc.abstractmethod
    def run(self, problem: PyTree, warm: PyTree) -> Point:
        """Solve `problem`, whose derivatives are stopped, from `warm`."""

    @abc.abstractmethod
    def conditions(self, problem: PyTree, unknowns: PyTree, frozen: PyTree) -> PyTree:
        """Residual with the structure of `unknowns`, zero at the solution, differentiable."""

    @abc.abstractmethod
    def value(self, problem: PyTree, unknowns: PyTree, frozen: PyTree) -> PyTree:
        """`Solution.value`, as a differentiable function of problem and unknowns."""

    @abc.abstractmethod
    def backsolve(self, problem: PyTree, frozen: PyTree, rhs: PyTree) -> PyTree:
        """Apply the factorisation in `frozen`, an (approximate) inverse of the conditions'
        Jacobian, to `rhs`, which has the structure of the unknowns.
        """

    def backsolve_transposed(self, problem: PyTree, frozen: PyTree, rhs: PyTree) -> PyTree:
        """Apply the transpose of that inverse."""
        return self.backsolve(problem, frozen, rhs)

    def unmet(self, problem: PyTree, unknowns: PyTree, frozen: PyTree) -> tuple[Array, Array]:
        """(whether a multiplier has an interval of values, the residual of its equality), both ().
        The active set leaves such an equality no unknown: it holds by itself, and where it moves
        the solution jumps. By default (False, 0).
        """
        del problem, frozen
        dtype = jax.tree.leaves(unknowns)[0].dtype
        return jnp.zeros((), bool), jnp.zeros((), dtype)

    @abc.abstractmethod
    def slack(self, problem: PyTree, unknowns: PyTree, frozen: PyTree) -> Array:
        """Distances to the next change of active set, one per inequality; may be empty."""
