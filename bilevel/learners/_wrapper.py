"""Learners around learners: defenses, heads on features."""

from typing import TYPE_CHECKING, Self

import equinox as eqx

from .._data import Data
from ._learner import AbstractLearner
from ._training import Training


class AbstractWrapper(AbstractLearner):
    """A learner that trains the one it wraps. Solver, derivative and loss are those of `learner`.

    A subclass implements `training`; and `given` if the learner trains on other features than
    those of the data.
    """

    if TYPE_CHECKING:  # as in AbstractLearner: a field would come first among the arguments

        @property
        def learner(self) -> AbstractLearner: ...

    else:
        learner: eqx.AbstractVar[AbstractLearner]

    @property
    def solver(self):
        return self.learner.solver

    @property
    def derivative(self):
        return self.learner.derivative

    @property
    def loss(self):
        return self.learner.loss

    def given(self, data: Data) -> Data:
        """The data with the features that the learner gets. By default as they are."""
        return data

    def around(self, learner: AbstractLearner) -> Self:
        """The same wrapper around another learner."""
        return eqx.tree_at(lambda wrapper: wrapper.learner, self, learner)

    def check(self, data):
        self.learner.check(self.given(data))

    def cold(self, data, *, key=None):
        return self.learner.cold(self.given(data), key=key)

    def using(self, solver, derivative) -> Self:
        return self.around(self.learner.using(solver, derivative))

    def prepare(self, data) -> AbstractLearner:
        return self.around(self.learner.prepare(self.given(data)))

    def prepare_rows(self, x):
        return self.learner.prepare_rows(x)

    def pinned(self, training: Training) -> AbstractLearner:
        inner = training.inner
        return self if inner is None else self.around(self.learner.pinned(inner))
