"""Solvers that repeat one step a fixed number of times: their path can be differentiated."""

import abc
from typing import TYPE_CHECKING, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int, PyTree

from ._solver import AbstractSolver, Point


class AbstractIteration(AbstractSolver):
    """A solver that applies one map `steps` times, from `begin` to `arrive`. All three parts are
    differentiable.
    """

    converges: ClassVar[bool] = False

    if TYPE_CHECKING:  # a property: as a field it would come first in a subclass's arguments

        @property
        def steps(self) -> int: ...

    else:
        steps: eqx.AbstractVar[int]

    @abc.abstractmethod
    def begin(self, problem: PyTree, warm: PyTree) -> PyTree:
        """The state before the first step."""

    @abc.abstractmethod
    def step(self, problem: PyTree, state: PyTree, index: Int[Array, ""]) -> PyTree:
        """The state after one more step, of the same structure and dtypes."""

    @abc.abstractmethod
    def unknowns(self, problem: PyTree, state: PyTree) -> PyTree:
        """The unknowns of a state."""

    @abc.abstractmethod
    def arrive(self, problem: PyTree, state: PyTree) -> Point:
        """The point of the last state, with its result code and statistics."""

    def run(self, problem: PyTree, warm: PyTree) -> Point:
        return self.arrive(problem, advance(self, problem, self.begin(problem, warm), self.steps))


def advance(solver: AbstractIteration, problem: PyTree, state: PyTree, steps: int) -> PyTree:
    """The state after the first `steps` steps."""

    def body(index, state):
        return solver.step(problem, state, index)

    return lax.fori_loop(jnp.int32(0), jnp.int32(steps), body, state)
