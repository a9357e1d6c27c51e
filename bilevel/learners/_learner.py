"""The contract of learners and models."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._argmin import argmin
from .._solution import Solution
from .._solver import AbstractSolver
from ..data import Data


class AbstractModel(eqx.Module):
    """What training returns."""

    @abc.abstractmethod
    def decision(self, x: PyTree) -> Float[Array, " n"]:
        """Real-valued output per row; a classifier predicts its sign.

        `x` is (n, d), or what the learner's `prepare_rows` made of it.
        """


class AbstractLearner(eqx.Module):
    """An inner problem per data set. `fit` is differentiable in data and hyper-parameters."""

    solver: eqx.AbstractVar[AbstractSolver]

    @property
    @abc.abstractmethod
    def loss(self) -> Callable[[Array, Array], Array]:
        """Loss of a row, of its label y and the decision f, that training minimises the mean of."""

    @abc.abstractmethod
    def check(self, data: Data) -> None:
        """ValueError with a sentence if this learner cannot train on (concrete) `data`."""

    @abc.abstractmethod
    def problem(self, data: Data) -> PyTree:
        """The inner problem whose minimiser is the trained model."""

    @abc.abstractmethod
    def model(self, data: Data, value: PyTree) -> AbstractModel:
        """The model that a minimiser of `problem(data)` stands for."""

    @abc.abstractmethod
    def prepare(self, data: Data) -> "AbstractLearner":
        """A learner that knows these rows, x and y: whatever data it is given must begin with them.
        Weights may differ.
        """

    def prepare_rows(self, x: Float[Array, "n d"]) -> PyTree:
        """Rows in the form that `decision` of this (prepared) learner's models takes fastest."""
        return x

    def kinks(self, data: Data) -> Float[Array, " k"]:
        """Quantities at whose zeros the inner problem itself changes abruptly; none here."""
        return jnp.zeros(0, data.y.dtype)

    def solve(self, data: Data, warm: PyTree | None = None, *, throw: bool = True) -> Solution:
        """Train; the solution's value is the model and its `warm` starts the next training."""
        self.check(data)
        solution = argmin(self.problem(data), warm, solver=self.solver, throw=throw)
        return eqx.tree_at(lambda s: s.value, solution, self.model(data, solution.value))

    def fit(self, data: Data) -> AbstractModel:
        """Train from scratch: data -> model."""
        return self.solve(data).value
