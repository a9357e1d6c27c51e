"""Many problems of one kind as one: an ensemble is trained, and differentiated, in one solve."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import PyTree

from .._batch import batch
from .._solver import AbstractSolver, Point
from ..problems import AbstractProblem


class Stack(AbstractProblem):
    """Problems of equal shapes, independent of each other: every array has one more leading axis.

    `Stack(eqx.filter_vmap(problem_of)(...))` makes one. Functions in it are shared; what they close
    over has no derivative: hand it over by the problem's arguments.
    """

    problem: PyTree


class Each(AbstractSolver):
    """Solves every problem of a `Stack` by another solver, as `batch` chooses: on a CPU one after
    the other, so that none waits for the slowest.

    Values, warm starts and `stats` have the leading axis; `result` is the worst of all.
    """

    solver: AbstractSolver

    @property
    def symmetric(self) -> bool:
        return self.solver.symmetric

    @property
    def converges(self) -> bool:
        return self.solver.converges

    def cold(self, problem: Stack) -> PyTree:
        return eqx.filter_vmap(self.solver.cold)(problem.problem)

    def run(self, problem: Stack, warm: PyTree) -> Point:
        point = batch(self.solver.run)(problem.problem, warm)
        return eqx.tree_at(lambda p: p.result, point, jnp.max(point.result))

    def conditions(self, problem: Stack, unknowns: PyTree, frozen: PyTree) -> PyTree:
        return eqx.filter_vmap(self.solver.conditions)(problem.problem, unknowns, frozen)

    def value(self, problem: Stack, unknowns: PyTree, frozen: PyTree) -> PyTree:
        return eqx.filter_vmap(self.solver.value)(problem.problem, unknowns, frozen)

    def backsolve(self, problem: Stack, frozen: PyTree, rhs: PyTree) -> PyTree:
        return batch(self.solver.backsolve)(problem.problem, frozen, rhs)

    def backsolve_transposed(self, problem: Stack, frozen: PyTree, rhs: PyTree) -> PyTree:
        return batch(self.solver.backsolve_transposed)(problem.problem, frozen, rhs)

    def slack(self, problem: Stack, unknowns: PyTree, frozen: PyTree):
        return jnp.ravel(eqx.filter_vmap(self.solver.slack)(problem.problem, unknowns, frozen))
