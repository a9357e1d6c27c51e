"""What all defenses that wrap a learner have in common."""

from typing import Self

import equinox as eqx
from jaxtyping import PyTree

from bilevel import Data
from bilevel.learners import AbstractLearner, Training


class AbstractDefense(AbstractLearner):
    """A learner that trains the one it wraps, and guards that training.

    Being a learner it is attacked, differentiated and defended again like any other:
    `Filter(Trim(learner))` filters, then trims. The kinds differ in when they act:
    `AbstractSanitiser` before training, `AbstractEnsemble` in its place, `AbstractRepair` after
    it, `AbstractPurifier` on the rows that the model is shown. Solver, derivative and loss are
    those of the learner.
    """

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

    def check(self, data: Data) -> None:
        self.learner.check(data)

    def cold(self, data, *, key=None) -> PyTree:
        return self.learner.cold(data, key=key)

    def around(self, learner: AbstractLearner) -> Self:
        """The same defense around another learner."""
        return eqx.tree_at(lambda defense: defense.learner, self, learner)

    def using(self, solver, derivative) -> Self:
        return self.around(self.learner.using(solver, derivative))

    def prepare(self, data: Data) -> AbstractLearner:
        return self.around(self.learner.prepare(data))

    def prepare_rows(self, x):
        return self.learner.prepare_rows(x)

    def pinned(self, training: Training) -> AbstractLearner:
        inner = training.inner
        return self if inner is None else self.around(self.learner.pinned(inner))


def softened(learner: AbstractLearner, data: Data) -> AbstractLearner:
    """What a surrogate defense wraps: the surrogate of a wrapped defense, a plain learner as it is.

    A learner's hypergradient is exact where its solution is differentiable, an SVM's too; its own
    surrogate would be another victim.
    """
    return learner.surrogate(data) if isinstance(learner, AbstractDefense) else learner
