"""A JAX defense and the estimator of its name judge the same rows alike, around one learner."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as RidgeRegression

import defenses.estimators as estimators
from bilevel import Data
from bilevel.learners import Logistic, Ridge
from defenses import Filter, MicroModels, Partition, Relabel, Roni, Sever, Trim, VotingModel
from defenses._hash import row_hash
from defenses.ensemble._parts import part_of
from defenses.sanitise._sets import others, told_apart
from defenses.sanitise.trim import drawn_sets
from defenses.scores import Neighbours

N, D, L2 = 60, 3, 0.02
RNG = np.random.default_rng(3)
SIDES = np.where(np.arange(N) % 2, 1.0, -1.0)
X = RNG.normal(size=(N, D)) + 0.9 * SIDES[:, None]
LABELS = np.where(np.arange(N) < 8, -SIDES, SIDES)
TARGETS = X @ [1.0, -2.0, 0.5] + 0.3 * RNG.normal(size=N)
TARGETS[:9] = -8 * np.sign(TARGETS[:9])
EQUAL = np.array([50, 51, 52])
X[EQUAL], LABELS[EQUAL], TARGETS[EQUAL] = X[50], LABELS[50], TARGETS[50]


class Line(RegressorMixin, BaseEstimator):
    """Ridge regression of our strength: scikit-learn's grows with the rows."""

    def fit(self, X, y):
        self.model_ = RidgeRegression(L2 * len(y), tol=1e-12).fit(X, y)
        self.coef_, self.n_features_in_ = self.model_.coef_, X.shape[1]
        return self

    def predict(self, X):
        return self.model_.predict(X)


class Plane(LogisticRegression):
    """Logistic regression of our strength."""

    def fit(self, X, y, sample_weight=None):
        self.C = 1 / (L2 * len(y))
        return super().fit(X, y, sample_weight)


PLANE = Plane(tol=1e-10, max_iter=1000)
CLASSES = {
    "trim": (Trim(Logistic(L2), 0.2), estimators.TrimClassifier(PLANE, 0.2)),
    "filter": (
        Filter(Ridge(L2), contamination=0.2),
        estimators.FilterClassifier(PLANE, contamination=0.2),
    ),
    "near": (
        Filter(Ridge(L2), Neighbours(3), 0.2),
        estimators.FilterClassifier(PLANE, Neighbours(3), 0.2),
    ),
    "sever": (Sever(Logistic(L2), 0.2), estimators.SeverClassifier(PLANE, 0.2)),
    "relabel": (Relabel(Ridge(L2), 5, 0.7), estimators.RelabelClassifier(PLANE, 5, 0.7)),
    "micro-models": (MicroModels(Logistic(L2), 4), estimators.MicroModelsClassifier(PLANE, 4, 0.5)),
    "roni": (
        Roni(Logistic(L2), 2, 8, 20, seed=3),
        estimators.RoniClassifier(PLANE, 2, 8, 20, random_state=3),
    ),
}
NUMBERS = {
    "trim": (Trim(Ridge(L2), 0.2), estimators.TrimRegressor(Line(), 0.2)),
    "trim from random sets": (
        Trim(Ridge(L2), 0.3, restarts=6, seed=5),
        estimators.TrimRegressor(Line(), 0.3, restarts=6, random_state=5),
    ),
    "filter": (
        Filter(Ridge(L2), contamination=0.2, classes=()),
        estimators.FilterRegressor(Line(), contamination=0.2),
    ),
    "sever": (Sever(Ridge(L2), 0.2, 3), estimators.SeverRegressor(Line(), 0.2, 3)),
}
PAIRS = [pytest.param(*pair, LABELS, id=f"{name}, classes") for name, pair in CLASSES.items()] + [
    pytest.param(*pair, TARGETS, id=f"{name}, numbers") for name, pair in NUMBERS.items()
]


@pytest.mark.parametrize(("defense", "estimator", "y"), PAIRS)
def test_they_keep_the_same_rows(defense, estimator, y):
    seen = defense.inspect(Data(X, y))
    fitted = estimator.fit(X, y)
    np.testing.assert_array_equal(fitted.support_mask_, seen.kept)
    np.testing.assert_array_equal(fitted.relabelled_, np.asarray(seen.data.y) != y)
    assert fitted.n_iter_ == int(seen.trainings)
    assert fitted.relabelled_.any() or not fitted.support_mask_.all()
    factor = 2 if isinstance(defense, Trim) and y is TARGETS else 1  # half the squares
    np.testing.assert_allclose(fitted.scores_, factor * seen.score, rtol=1e-5, atol=1e-7)


def test_they_make_the_same_parts_and_certify_the_same_counts():
    defense, estimator = Partition(Logistic(L2), 5), estimators.PartitionClassifier(PLANE, 5)
    at = RNG.normal(size=(40, D))
    model, fitted = defense.fit(Data(X, SIDES)).model, estimator.fit(X, SIDES)
    assert isinstance(model, VotingModel)
    np.testing.assert_array_equal(part_of(X, 5), defense.places(Data(X, SIDES)))
    np.testing.assert_array_equal(fitted.votes(at).T, model.votes(jnp.asarray(at)))
    np.testing.assert_array_equal(fitted.certify(at), model.certify(jnp.asarray(at)))
    assert set(fitted.certify(at)) == {0, 1, 2}
    np.testing.assert_array_equal(fitted.predict(at), model.predict(jnp.asarray(at)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_numpy_and_jax_draw_the_same(dtype):
    x, y = X.astype(dtype), LABELS
    used = np.arange(N) % 7 != 3
    for seed in (0, 5):
        hashes = row_hash(x, y, seed)
        assert isinstance(hashes, np.ndarray)
        np.testing.assert_array_equal(row_hash(jnp.asarray(x), jnp.asarray(y), seed), hashes)
        ours = drawn_sets(jnp.asarray(x), jnp.asarray(y), jnp.asarray(used), 20, 3, seed)
        for a, b in zip(ours, drawn_sets(x, y, used, 20, 3, seed), strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.sum() == 20


def test_sets_hold_a_row_of_each_of_three_classes():
    """A class of one row and one of three, among forty."""
    number = np.where(np.arange(40) == 7, 2, np.where(np.isin(np.arange(40), [3, 20, 31]), 1, 0))
    groups = number[None, :] == np.arange(3)[:, None]
    hashes = told_apart(row_hash(RNG.normal(size=(40, 2))), np.ones(40, bool))
    found = np.asarray(others(hashes, np.ones(40, bool), groups, 6, 10))
    for row in range(40):
        assert len({*found[row].tolist(), row}) == 17
        rest = set(number[np.arange(40) != row])
        assert set(number[found[row, :6]]) == rest
