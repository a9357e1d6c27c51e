"""The contract of learners: inner problems made of data."""

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
from ._training import Fitted, Training


class AbstractLearner(eqx.Module):
    """Rows -> model, by an inner problem that is solved and differentiated.

    A learner of one's own needs `training` and `loss`, and fields `solver` and `derivative` where
    Newton's method on a smooth problem does not fit. `fit` is differentiable in data and
    hyper-parameters.
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
        """What these rows make: the inner problem, and the model that its solution stands for.

        - `key`: initial weights, mini-batches, dropout. The same key is the same function.
        """

    @property
    @abc.abstractmethod
    def loss(self) -> Any:
        """The loss that training minimises the weighted mean of: a function of the labels (n,) and
        the decisions, with a number per row (n,). A method does as well.
        """

    def check(self, data: Data) -> None:
        """ValueError with a sentence if this learner cannot train on (concrete) `data`."""

    def prepare(self, data: Data) -> "AbstractLearner":
        """A learner that knows these rows, x and y: whatever data it is given must begin with them.
        Weights may differ. Itself by default.
        """
        del data
        return self

    def prepare_rows(self, x: Float[Array, "n ..."]) -> PyTree:
        """Rows in the form that `decision` of this (prepared) learner's models takes fastest."""
        return x

    def surrogate(self, data: Data) -> "AbstractLearner":
        """A smooth learner that stands in for this one, for whom ranks rows or adapts to a
        defense by gradients. Itself by default.
        """
        del data
        return self

    def pinned(self, training: Training) -> "AbstractLearner":
        """This learner with the discrete choices (rows that it drops) of one of its trainings: the
        same function nearby. Itself by default.
        """
        del training
        return self

    def using(self, solver: AbstractSolver, derivative: AbstractDerivative) -> "AbstractLearner":
        """The same learner, solved and differentiated another way."""
        return eqx.tree_at(
            lambda learner: (learner.solver, learner.derivative),
            self,
            (solver, derivative),
            is_leaf=lambda node: isinstance(node, AbstractSolver | AbstractDerivative),
        )

    def cold(self, data: Data, *, key: PRNGKeyArray | None = None) -> PyTree:
        """The warm start of `fit` that stands for none."""
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
        """Train and decide: data -> model.

        - `warm`: `Fitted.warm` of a training on nearby rows; the model does not depend on it.
        - `key`: randomness of the training, for learners that have some.
        - `throw`: raise `SolveError` if a training failed; otherwise read `Fitted.result`.
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
    return Fitted(trained.model, solution.warm, result, solution.stats, report)


DEFAULT = Implicit()
"""The derivative of a learner unless another is given."""
