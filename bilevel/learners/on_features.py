"""A learner on the features of a model that is trained already: transfer learning."""

import dataclasses

import equinox as eqx
from jaxtyping import Array, Float, PyTree

from .._data import Data
from ._learner import AbstractLearner
from ._model import AbstractModel
from ._training import Trained, Training


class Seen(eqx.Module):
    """Rows as features already, in the form for which the head is fastest."""

    features: PyTree


class OnFeaturesModel(AbstractModel):
    """A head on the features of a frozen model."""

    model: AbstractModel
    head: AbstractModel

    def decision(self, x, *, key=None):
        features = x.features if isinstance(x, Seen) else _floating(self.model.features(x))
        return self.head.decision(features, key=key)

    def features(self, x):
        return self.model.features(x)


class OnFeatures(AbstractLearner):
    """Train `learner` on `model.features(x)`; the model stays as it is (Koh & Liang 2017,
    Shafahi et al. 2018). With a convex learner its implicit derivative is exact, also in the
    rows, through the network.

    - `model`: a trained model, usually a network's.
    - `learner`: of the head; for example `SVM`, `Logistic` or `Softmax`.

    Features are converted to the default floating dtype, float64 where that is enabled.
    """

    model: AbstractModel
    learner: AbstractLearner

    @property
    def solver(self):
        return self.learner.solver

    @property
    def derivative(self):
        return self.learner.derivative

    @property
    def loss(self):
        return self.learner.loss

    def check(self, data):
        self.learner.check(self._seen(data))

    def training(self, data, *, key=None):
        inner = self.learner.training(self._seen(data), key=key)
        return dataclasses.replace(
            inner,
            data=Data(data.x, inner.data.y, inner.data.weight.astype(data.weight.dtype)),
            make_model=eqx.Partial(_on_features, self.model, inner),
            inner=inner,
        )

    def using(self, solver, derivative):
        return OnFeatures(self.model, self.learner.using(solver, derivative))

    def cold(self, data, *, key=None):
        return self.learner.cold(self._seen(data), key=key)

    def prepare(self, data):
        return OnFeatures(self.model, self.learner.prepare(self._seen(data)))

    def prepare_rows(self, x):
        return Seen(self.learner.prepare_rows(_floating(self.model.features(x))))

    def surrogate(self, data):
        return OnFeatures(self.model, self.learner.surrogate(self._seen(data)))

    def pinned(self, training):
        inner = training.inner
        return self if inner is None else OnFeatures(self.model, self.learner.pinned(inner))

    def _seen(self, data: Data) -> Data:
        x = _floating(self.model.features(data.x))
        return Data(x, data.y, data.weight.astype(x.dtype))


def _floating(features: Float[Array, "n f"]) -> Float[Array, "n f"]:
    return features.astype(float)


def _on_features(model: AbstractModel, inner: Training, value: PyTree) -> Trained:
    trained = inner.trained(value)
    return Trained(OnFeaturesModel(model, trained.model), trained.result, trained.report)
