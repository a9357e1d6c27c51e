"""What all defenses that wrap a learner have in common."""

import equinox as eqx

from bilevel import Data
from bilevel.learners import AbstractLearner, AbstractWrapper


class AbstractDefense(AbstractWrapper):
    """A learner that trains the one it wraps, and guards that training.

    Being a learner it is attacked, differentiated and defended again like any other:
    `Filter(Trim(learner))` filters, then trims. The kinds differ in when they act:
    `AbstractSanitiser` before training, `AbstractEnsemble` in its place, `AbstractRepair` after
    it, `AbstractPurifier` on the rows that the model is shown.
    """

    learner: eqx.AbstractVar[AbstractLearner]


def softened(learner: AbstractLearner, data: Data) -> AbstractLearner:
    """What a surrogate defense wraps: the surrogate of a wrapped defense, a plain learner as it is.

    A learner's hypergradient is exact where its solution is differentiable, an SVM's too; its own
    surrogate would be another victim.
    """
    return learner.surrogate(data) if isinstance(learner, AbstractDefense) else learner
