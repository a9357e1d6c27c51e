"""Confident learning against a plain loop in NumPy, JAX and scikit-learn versions alike."""

from types import SimpleNamespace
from typing import Any, cast

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from test_estimators import labels

from bilevel import Data
from bilevel.learners import Logistic, Ridge, Softmax
from defenses import ConfidentLearning
from defenses._hash import row_hash
from defenses.estimators import ConfidentLearningClassifier
from defenses.estimators.confident_learning import _probabilities
from defenses.sanitise.confident_learning import _distances, folds_of, off_diagonal, probabilities


def joint_by_hand(p, own):
    """The rows pruned, pair by pair of classes."""
    classes = p.shape[1]
    threshold = [np.mean(p[own == j, j]) for j in range(classes)]
    joint = np.zeros((classes, classes))
    for row, label in zip(p, own, strict=True):
        reached = [j for j in range(classes) if row[j] >= threshold[j] - 1e-12]
        if reached:
            joint[label, max(reached, key=lambda j: row[j])] += 1
    pruned = np.zeros(own.size, bool)
    for i in range(classes):
        rows = np.flatnonzero(own == i)
        for j in range(classes):
            if i != j:
                many = round(joint[i, j] / joint[i].sum() * rows.size)
                pruned[rows[np.argsort(p[rows, i] - p[rows, j])][:many]] = True
    return pruned


@pytest.mark.parametrize("classes", [2, 3])
def test_rows_pruned_are_those_of_a_loop(classes):
    rng = np.random.default_rng(classes)
    own = np.where(rng.random(200) < 0.15, 0, rng.integers(1, classes, 200) if classes > 2 else 1)
    p = rng.dirichlet(np.ones(classes), 200) + 0.15 * np.eye(classes)[own]
    p /= p.sum(axis=1, keepdims=True)
    pruned, score = off_diagonal(p, np.eye(classes)[own], np.ones(200, bool), np.arange(200))
    np.testing.assert_array_equal(pruned, joint_by_hand(p, own))
    assert 5 < pruned.sum() < 150
    rivals = np.where(np.eye(classes)[own] > 0, -np.inf, p).max(axis=1)
    np.testing.assert_allclose(score, rivals - p[np.arange(200), own])


def test_folds_share_out_each_class_and_keep_copies_together():
    x, y, _ = labels()
    x[10:14], y[10:14] = x[10], y[10]
    place = folds_of(row_hash(x, y), y.astype(float), np.ones(90, bool), 5)
    assert len(set(place[10:14])) == 1
    for label in (0, 1):
        assert np.ptp(np.bincount(place[y == label], minlength=5)) <= 8
    order = np.random.default_rng(0).permutation(90)
    again = folds_of(row_hash(x[order], y[order]), y[order] * 1.0, np.ones(90, bool), 5)
    np.testing.assert_array_equal(again, place[order])


class Plane(LogisticRegression):
    """Logistic regression of our strength."""

    def fit(self, X, y, sample_weight=None):
        self.C = 1 / (0.02 * len(y))
        return super().fit(X, y, sample_weight)


PLANE = Plane(tol=1e-10, max_iter=1000)


@eqx.filter_jit
def inspected(learner, data):
    return ConfidentLearning(learner).inspect(data)


def test_a_row_that_a_quota_keeps_is_as_far_from_going_as_from_the_rows_that_go():
    """A third of the labels +1 are wrong: their class keeps more than the rows not doubted."""
    y, used = (np.arange(90) >= 46) * 1, np.ones(90, bool)
    x = np.where(np.arange(90)[:, None] < 60, [4.0, 0.0], [-4.0, 0.0])
    x, signs = x + np.random.default_rng(4).normal(size=(90, 2)), 2 * y - 1.0
    seen = inspected(Logistic(0.02), Data(x, signs))
    score, kept = np.asarray(seen.score), np.asarray(seen.kept)
    p_own = (1 - score) / 2
    own = np.eye(2)[y]
    p = np.where(own > 0, p_own[:, None], 1 - p_own[:, None])
    sure = ~joint_by_hand(p, y)
    added = kept & ~sure
    np.testing.assert_array_equal(np.unique(y[added]), [1])
    assert np.all(kept[sure])
    assert not kept.all()
    given = map(jnp.asarray, (p, own, used, signs, sure))
    expected = np.array(_distances(*given))
    ours = y == 1
    middle = 0.5 * (score[ours & kept].max() + score[ours & ~kept].min())
    quota = np.abs(score[ours] - middle)
    assert np.any(quota < expected[ours])
    expected[ours] = np.minimum(expected[ours], quota)
    np.testing.assert_allclose(np.asarray(seen.margin, float), expected, atol=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
def test_both_versions_find_the_flips_in_any_order(classes):
    x, y, flipped = labels(classes=classes)
    learner = Logistic(0.02) if classes == 2 else Softmax(3, 0.02)
    data = Data(x, 2 * y - 1.0 if classes == 2 else y)
    seen = inspected(learner, data)
    estimator = ConfidentLearningClassifier(PLANE, check=False).fit(x, y)
    assert np.mean(~estimator.support_mask_[flipped]) > 0.9
    assert np.mean(estimator.support_mask_[~flipped]) > 0.95
    if classes == 2:  # the hashes count labels: theirs of three classes are others
        np.testing.assert_allclose(estimator.scores_, seen.score, rtol=1e-5)
        np.testing.assert_array_equal(seen.kept, estimator.support_mask_)
    assert np.mean(~np.asarray(seen.kept)[flipped]) > 0.9
    assert int(seen.trainings) == estimator.n_iter_ == 5
    assert seen.margin is not None
    assert np.all(np.asarray(seen.margin) > 0)
    order = np.random.default_rng(1).permutation(90)
    moved = ConfidentLearningClassifier(PLANE, check=False).fit(x[order], y[order])
    np.testing.assert_array_equal(moved.scores_, estimator.scores_[order])


@pytest.mark.parametrize("classes", [2, 3])
def test_decisions_are_as_sure_in_both_versions(classes):
    x, y, _ = labels(classes=classes)
    model, rows = RidgeClassifier().fit(x, y), cast(Any, SimpleNamespace(given=x))
    ours = probabilities(jnp.asarray(model.decision_function(x)))
    np.testing.assert_allclose(_probabilities(model, rows), ours, rtol=1e-12)


def test_sentences():
    for make, sentence in (
        (lambda: ConfidentLearning(Ridge(), folds=1), "^folds: got 1"),
        (lambda: ConfidentLearning(Ridge(), balance=2), r"^balance: got 2"),
        (lambda: ConfidentLearning(Ridge()).fit(Data(np.ones((2, 1)), [1.0, -1])), "^folds: got 5"),
    ):
        with pytest.raises(ValueError, match=sentence):
            make()
