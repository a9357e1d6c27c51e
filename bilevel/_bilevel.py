"""The composition the core works on: an outer function of an inner minimiser."""

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, Int, PyTree

from ._argmin import argmin
from ._solver import AbstractSolver
from .derivatives import AbstractDerivative, Implicit
from .linear import AbstractLinearSolver, Factor


class Info(eqx.Module):
    """What one evaluation reports besides its value: the inner solve's result and statistics."""

    result: Int[Array, ""]
    stats: dict[str, Any]


class AbstractBilevel(eqx.Module):
    """z -> F(z, w*(z)) with w*(z) the minimiser of an inner problem that depends on z."""

    if TYPE_CHECKING:  # properties, lest they come first among a subclass's arguments

        @property
        def solver(self) -> AbstractSolver: ...

        @property
        def derivative(self) -> AbstractDerivative: ...

    else:
        solver: eqx.AbstractVar[AbstractSolver]
        derivative: eqx.AbstractVar[AbstractDerivative]

    @property
    def linear(self) -> AbstractLinearSolver:
        """What answers the adjoint system when the gradient is certified."""
        return self.derivative.linear if isinstance(self.derivative, Implicit) else Factor()

    @abc.abstractmethod
    def inner(self, z: PyTree) -> PyTree:
        """The inner problem at z."""

    @abc.abstractmethod
    def outer(self, z: PyTree, value: PyTree) -> Float[Array, ""]:
        """The outer objective at z and a minimiser of the inner problem."""

    @abc.abstractmethod
    def kinks(self, z: PyTree, value: PyTree) -> Array:
        """Quantities at whose zeros the outer objective is not differentiable; may be empty."""

    # by identity, so that jax.jit and friends take an attack as they take any function
    __hash__ = object.__hash__
    __eq__ = object.__eq__

    def __call__(self, z: PyTree) -> Float[Array, ""]:
        """Cold start; raises `SolveError` if the inner problem was not solved."""
        solution = argmin(self.inner(z), solver=self.solver, derivative=self.derivative)
        return self.outer(z, solution.value)

    def evaluate(
        self, z: PyTree, warm: PyTree | None = None
    ) -> tuple[Float[Array, ""], tuple[PyTree, Info]]:
        """(value, (warm start for the next evaluation nearby, info)). Never raises on a failed
        solve: `info.result` says so. The value does not depend on `warm`.
        """
        solution = argmin(
            self.inner(z), warm, solver=self.solver, derivative=self.derivative, throw=False
        )
        return self.outer(z, solution.value), (solution.warm, Info(solution.result, solution.stats))


class Bilevel(AbstractBilevel):
    """A bilevel problem from two functions: `inner(z) -> problem`, `outer(z, value) -> scalar`."""

    inner_problem: Callable[[PyTree], PyTree]
    outer_objective: Callable[[PyTree, PyTree], Float[Array, ""]]
    solver: AbstractSolver
    derivative: AbstractDerivative = Implicit()

    def inner(self, z):
        return self.inner_problem(z)

    def outer(self, z, value):
        return self.outer_objective(z, value)

    def kinks(self, z, value):
        del z, value
        return jax.numpy.zeros(0)
