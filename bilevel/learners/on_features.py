"""A learner on the features of a model that is trained already: transfer learning."""

import dataclasses

import equinox as eqx
from jaxtyping import Array, Float, PyTree

from .._data import Data
from ._learner import AbstractLearner
from ._model import AbstractModel
from ._training import Trained, Training
from ._wrapper import AbstractWrapper


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


class OnFeatures(AbstractWrapper):
    """Train `learner` on `model.features(x)`; the model stays as it is (Koh & Liang 2017,
    Shafahi et al. 2018). With a convex learner its implicit derivative is exact, also in the
    rows, through the network.

    - `model`: a trained model, usually a network's.
    - `learner`: of the head; for example `SVM`, `Logistic` or `Softmax`.

    Features are converted to the default floating dtype, float64 where that is enabled.
    """

    model: AbstractModel
    learner: AbstractLearner

    def given(self, data):
        x = _floating(self.model.features(data.x))
        return Data(x, data.y, data.weight.astype(x.dtype))

    def training(self, data, *, key=None):
        inner = self.learner.training(self.given(data), key=key)
        return dataclasses.replace(
            inner,
            data=Data(data.x, inner.data.y, inner.data.weight.astype(data.weight.dtype)),
            make_model=eqx.Partial(_on_features, self.model, inner),
            inner=inner,
        )

    def prepare_rows(self, x):
        return Seen(self.learner.prepare_rows(_floating(self.model.features(x))))

    def surrogate(self, data):
        return self.around(self.learner.surrogate(self.given(data)))


def _floating(features: Float[Array, "n f"]) -> Float[Array, "n f"]:
    return features.astype(float)


def _on_features(model: AbstractModel, inner: Training, value: PyTree) -> Trained:
    trained = inner.trained(value)
    return Trained(OnFeaturesModel(model, trained.model), trained.result, trained.report)
