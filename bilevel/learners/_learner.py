"""The interface of learners: inner problems made of data."""

import abc
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._argmin import solve
from .._data import Data
from .._program import program
from .._solver import AbstractSolver
from ..derivatives import AbstractDerivative, Implicit
from ..results import INVALID
from ._training import Fitted, Training


class AbstractLearner(eqx.Module):
    """Rows -> model, by an inner problem that is solved and differentiated.

    A subclass implements `training` and `loss`, and has fields `solver` and `derivative`. `fit` is
    differentiable in data and hyper-parameters.
    """

    if TYPE_CHECKING:  # properties: as fields they would come first among a subclass's arguments

        @property
        def solver(self) -> AbstractSolver: ...

        @property
        def derivative(self) -> AbstractDerivative: ...

    else:
        solver: eqx.AbstractVar[AbstractSolver]
        derivative: eqx.AbstractVar[AbstractDerivative]

    @abc.abstractmethod
    def training(self, data: Data, *, key: PRNGKeyArray | None = None) -> Training:
        """The inner problem of these rows, and the model of its solution.

        - `key`: randomness of initial weights, mini-batches and dropout. With the same key the
          training is the same function of the data.
        """

    @property
    @abc.abstractmethod
    def loss(self) -> Any:
        """The loss whose weighted mean training minimises: a function of the labels (n,) and the
        decisions (n,) or (n, k), with a number per row (n,). A subclass may define it as a method.
        """

    def check(self, data: Data) -> None:
        """ValueError if this learner cannot train on `data`. Traced values are not checked."""

    def prepare(self, data: Data) -> "AbstractLearner":
        """A learner with computations on these rows done once. All data of its trainings must
        begin with the same x and y; weights may differ. By default itself.
        """
        del data
        return self

    def prepare_rows(self, x: Float[Array, "n ..."]) -> PyTree:
        """Rows in the form for which `decision` of this (prepared) learner's models is fastest."""
        return x

    def surrogate(self, data: Data) -> "AbstractLearner":
        """A smooth approximation of this learner, for attacks that rank rows or adapt to a defense
        by gradients. By default itself.
        """
        del data
        return self

    def pinned(self, training: Training) -> "AbstractLearner":
        """This learner with its discrete choices (rows that it drops) fixed to those of
        `training`. Near that data it is the same function. By default itself.
        """
        del training
        return self

    def using(self, solver: AbstractSolver, derivative: AbstractDerivative) -> "AbstractLearner":
        """The same learner with another solver and another derivative."""
        return eqx.tree_at(
            lambda learner: (learner.solver, learner.derivative),
            self,
            (solver, derivative),
            is_leaf=lambda node: isinstance(node, AbstractSolver | AbstractDerivative),
        )

    def cold(self, data: Data, *, key: PRNGKeyArray | None = None) -> PyTree:
        """The cold start: the `warm` of a first `fit`."""
        problem = self.training(data, key=key).problem
        return self.solver.cold(problem) if problem is not None and self.solver.converges else None

    def fit(
        self,
        data: Data,
        warm: PyTree | None = None,
        *,
        key: PRNGKeyArray | None = None,
        throw: bool = True,
    ) -> Fitted:
        """Train a model on `data`.

        - `warm`: `Fitted.warm` of a training on nearby rows; the model does not depend on it.
        - `key`: typed key of the randomness of the training, for learners that have some.
        - `throw`: raise `SolveError` if a training failed; otherwise `Fitted.result` has the code.
          The model of invalid data or strengths (`results.INVALID`, under `jit`) is NaN.

        Raises `ValueError` for data that `check` rejects.
        """
        self.check(data)
        fitted = _fit(self, data, warm, key)
        return fitted.checked() if throw else fitted


@program
def _fit(learner: AbstractLearner, data: Data, warm: PyTree, key: PRNGKeyArray | None) -> Fitted:
    training = learner.training(data, key=key)
    solution = solve(training.problem, warm, learner.solver, learner.derivative, training.point)
    trained = training.trained(solution.value)
    result = jax.numpy.maximum(
        jax.numpy.maximum(jax.numpy.int32(training.result), solution.result),
        jax.numpy.int32(trained.result),
    )
    report = training.report if trained.report is None else trained.report
    # An answer to invalid data would look like any other to whoever ignores the result.
    nan = jax.numpy.where(result == INVALID, jax.numpy.nan, 1)
    model = jax.tree.map(
        lambda leaf: leaf * nan.astype(leaf.dtype) if eqx.is_inexact_array(leaf) else leaf,
        trained.model,
    )
    return Fitted(model, solution.warm, result, solution.stats, report)


DEFAULT = Implicit()
"""The derivative of a learner unless another is given."""
