"""The contract of repairs: learners that work on the model they have trained."""

import abc

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray, PyTree

from bilevel import Data
from bilevel.learners import AbstractLearner, AbstractModel, Trained, Training
from bilevel.tools import worst

from .._defense import AbstractDefense, softened


class AbstractRepair(AbstractDefense):
    """A learner whose model is repaired once it is trained: pruned, clipped, fine-tuned.

    The repair is part of the training: an attack on a repaired learner is aware of it.
    """

    learner: eqx.AbstractVar[AbstractLearner]

    @abc.abstractmethod
    def repair(
        self, model: AbstractModel, data: Data, *, key: PRNGKeyArray | None = None
    ) -> Trained:
        """The repaired model, with the code of that work and a report. Pure, and differentiable
        where the model is.

        - `data`: the rows that the model was trained on, poison among them.
        - `key`: randomness of the repair, another than that of the training.
        """

    def surrogate(self, data):
        """The same repair of what the learner's surrogate trains."""
        return self.around(softened(self.learner, data))

    def training(self, data, *, key=None):
        inner = self.learner.training(data, key=key)
        other = None if key is None else jax.random.fold_in(key, 1)
        return Training(
            data=inner.data,
            problem=inner.problem,
            make_model=eqx.Partial(_repaired, self, inner, other),
            make_kinks=inner.make_kinks,
            make_support=inner.make_support,
            result=inner.result,
            report=inner.report,
            point=inner.point,
            inner=inner,
        )


def _repaired(
    defense: AbstractRepair, inner: Training, key: PRNGKeyArray | None, value: PyTree
) -> Trained:
    trained = inner.trained(value)
    repaired = defense.repair(trained.model, inner.data, key=key)
    report = trained.report if repaired.report is None else repaired.report
    return Trained(repaired.model, worst(trained.result, repaired.result), report)
