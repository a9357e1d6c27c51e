"""A small dense network as surrogate and as target, beside scikit-learn's classifiers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.base import BaseEstimator, ClassifierMixin

from benchmarks.twins import Strengths, Twin
from bilevel import Data, losses
from bilevel.learners import Network
from bilevel.networks import MLP
from bilevel.solvers import Descent


def network(strengths: Strengths, rows: int) -> Network:
    """Ten tanh units, as in `mlp-mnist`, regularised as logistic regression is."""
    l2 = jnp.asarray(1 / (strengths.C * rows), float)
    return Network(MLP((10,), 1), losses.Logistic(), l2=l2, solver=Descent(optax.sgd(0.1), 200))


class NetworkClassifier(ClassifierMixin, BaseEstimator):
    """The network as scikit-learn's judges are, with initial weights of its own seed."""

    def __init__(self, strengths: Strengths, seed: int = 0):
        self.strengths = strengths
        self.seed = seed

    def fit(self, x: Any, y: Any) -> "NetworkClassifier":
        self.classes_ = np.unique(y)
        key = jax.random.key(1000 + self.seed)  # none that an attacker's attack uses
        learner = network(self.strengths, len(y))
        self.model_ = learner.fit(Data(np.asarray(x, float), y), key=key).model
        return self

    def predict(self, x: Any) -> np.ndarray:
        return np.asarray(self.model_.predict(np.asarray(x, float)))


NETWORK = Twin(network, NetworkClassifier)
