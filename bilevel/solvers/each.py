"""Many problems of one kind as one problem, to train an ensemble in one solve."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import PyTree

from .._batch import batch
from .._solver import AbstractSolver, Point
from ..problems import AbstractProblem


class Stack(AbstractProblem):
    """Independent problems of equal shapes: every array has an additional leading axis.

    - `problem`: the stacked problem, `eqx.filter_vmap(problem_of)(...)`.

    The problems share their functions. Solutions are not differentiable in values that these close
    over: pass such values by the problem's `args`.
    """

    problem: PyTree


class Each(AbstractSolver):
    """Solves every problem of a `Stack` by another solver, mapped by `batch`.

    - `solver`: of one of the problems.

    Values, warm starts and `stats` have the leading axis; `result` is the worst code.
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
