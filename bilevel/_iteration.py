"""Solvers that are a loop of equal steps, so that their path can be differentiated."""

import abc
from typing import TYPE_CHECKING, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int, PyTree

from ._solver import AbstractSolver, Point


class AbstractIteration(AbstractSolver):
    """`steps` times the same map, from `begin` to `arrive`. All of it is differentiable."""

    converges: ClassVar[bool] = False

    if TYPE_CHECKING:  # a property, lest it come first among a subclass's arguments

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
        """The unknowns that a state stands for."""

    @abc.abstractmethod
    def arrive(self, problem: PyTree, state: PyTree) -> Point:
        """Where the loop ended, and whether that is good enough."""

    def run(self, problem: PyTree, warm: PyTree) -> Point:
        return self.arrive(problem, advance(self, problem, self.begin(problem, warm), self.steps))


def advance(solver: AbstractIteration, problem: PyTree, state: PyTree, steps: int) -> PyTree:
    """The state after the first `steps` steps."""

    def body(index, state):
        return solver.step(problem, state, index)

    return lax.fori_loop(jnp.int32(0), jnp.int32(steps), body, state)
