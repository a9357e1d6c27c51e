"""The contract of purifiers: learners whose model cleans what it is shown."""

import abc

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from bilevel.learners import AbstractLearner, AbstractModel, Trained, Training

from .._defense import AbstractDefense


class AbstractPurifier(AbstractDefense):
    """A learner whose model is shown purified rows: smoothed, squeezed, stripped of a trigger."""

    learner: eqx.AbstractVar[AbstractLearner]

    @abc.abstractmethod
    def purify(
        self, model: AbstractModel, x: Float[Array, "n ..."], *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "n ..."]:
        """The rows as the model is to see them, of the same shape. Pure, and differentiable where
        an attack is to be aware of it.

        - `key`: randomness of the decision.
        """

    def prepare_rows(self, x):
        """The rows as they are: they are purified first."""
        return x

    def training(self, data, *, key=None):
        inner = self.learner.training(data, key=key)
        return Training(
            data=inner.data,
            problem=inner.problem,
            make_model=eqx.Partial(_purified, self, inner),
            make_kinks=inner.make_kinks,
            make_support=inner.make_support,
            result=inner.result,
            report=inner.report,
            point=inner.point,
            inner=inner,
        )


class PurifiedModel(AbstractModel):
    """A model that decides on purified rows."""

    model: AbstractModel
    purifier: AbstractPurifier

    def purified(self, x, key: PRNGKeyArray | None = None):
        """The rows as the model sees them."""
        other = None if key is None else jax.random.fold_in(key, 1)
        return self.purifier.purify(self.model, x, key=other)

    def decision(self, x, *, key=None):
        return self.model.decision(self.purified(x, key), key=key)

    def features(self, x):
        return self.model.features(self.purified(x))


def _purified(purifier: AbstractPurifier, inner: Training, value: PyTree) -> Trained:
    trained = inner.trained(value)
    model = PurifiedModel(trained.model, purifier)
    return Trained(model, trained.result, trained.report)
