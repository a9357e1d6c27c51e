"""Meta-estimators: scikit-learn's own checks, order of rows, frames, what each finds, bad input."""

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from bilevel import Data
from bilevel.learners import Ridge as RidgeLearner
from defenses import Filter, Trim
from defenses.estimators import (
    ConfidentLearningClassifier,
    DuplicatesClassifier,
    DuplicatesRegressor,
    FilterClassifier,
    FilterRegressor,
    MicroModelsClassifier,
    PartitionClassifier,
    RelabelClassifier,
    RoniClassifier,
    RoniRegressor,
    SeverClassifier,
    SeverRegressor,
    TrimClassifier,
    TrimRegressor,
)
from defenses.scores import Neighbours, Slab

FAST = [
    TrimRegressor(Ridge(), 0.2),
    FilterClassifier(GaussianNB(), contamination=0.05),
    RelabelClassifier(GaussianNB(), agreement=0.9),
]
SLOW = [
    TrimClassifier(LogisticRegression()),
    TrimClassifier(RidgeClassifier(), 0.2, restarts=1, random_state=0),
    FilterRegressor(Ridge(), Neighbours(), 0.05),
    RoniClassifier(RidgeClassifier(), draws=1),
    RoniRegressor(Ridge(), draws=1, tolerance=0.1),
    MicroModelsClassifier(RidgeClassifier(), dispute=0.5),
    ConfidentLearningClassifier(RidgeClassifier()),
    DuplicatesClassifier(RidgeClassifier()),
    DuplicatesRegressor(Ridge()),
    SeverClassifier(LogisticRegression(), 0.2),
    SeverClassifier(RidgeClassifier(), 0.2),
    SeverRegressor(Ridge(), 0.2),
    PartitionClassifier(RidgeClassifier(), partitions=10),
]
REPEATED = {
    f"check_sample_weight_equivalence_on_{kind}_data": "a share of the rows is dropped, and rows "
    "are judged by others: one that is repeated is several, one that weighs more is one"
    for kind in ("dense", "sparse")
}


def name(estimator) -> str:
    return type(estimator).__name__


def real(load) -> tuple[np.ndarray, np.ndarray]:
    return load(return_X_y=True)


def fitted(estimator, x, y) -> Any:
    """A clone, fitted."""
    fresh: Any = clone(estimator)
    return fresh.fit(x, y)


def numbers(seed: int = 0, n: int = 60, bad: int = 12):
    """A line with noise, and rows at corners with targets on the wrong side, shuffled in."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    x[:bad] = rng.choice([-2.5, 2.5], size=(bad, 3)) + 0.1 * rng.normal(size=(bad, 3))
    y = x @ np.array([3.0, -2.0, 1.0]) + 0.3 * rng.normal(size=n)
    y[:bad] = -12 * np.sign(y[:bad]) + rng.normal(size=bad)
    order = rng.permutation(n)
    return x[order], y[order], (np.arange(n) < bad)[order]


def labels(seed: int = 0, n: int = 90, bad: int = 12, classes: int = 2):
    """Blobs apart from each other, some rows with another blob's label."""
    rng = np.random.default_rng(seed)
    sides = np.arange(n) % classes
    centres = 4 * np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    x = centres[sides] + rng.normal(size=(n, 2))
    order = rng.permutation(n)
    x, sides, flipped = x[order], sides[order], (np.arange(n) < bad)[order]
    return x, (sides + flipped) % classes, flipped


@pytest.mark.parametrize("estimator", FAST, ids=name)
def test_scikit_learn_has_no_complaint(estimator):
    results = check_estimator(estimator, on_skip=None, expected_failed_checks=REPEATED)
    assert sum(r["status"] == "passed" for r in results) > 40


@pytest.mark.slow
@pytest.mark.parametrize("estimator", SLOW, ids=name)
def test_scikit_learn_has_no_complaint_of_the_others(estimator):
    results = check_estimator(estimator, on_skip=None, expected_failed_checks=REPEATED)
    assert sum(r["status"] == "passed" for r in results) > 40


@pytest.mark.parametrize(
    "estimator",
    [
        TrimRegressor(Ridge(), 0.2, restarts=3, random_state=0),
        TrimClassifier(KNeighborsClassifier(), 0.2),  # many equal losses
        TrimClassifier(LogisticRegression(), 0.2, restarts=3, random_state=0),
        FilterRegressor(Ridge(), Neighbours(), 0.2),
        FilterClassifier(LogisticRegression(), Slab(), 0.2),
        RelabelClassifier(LogisticRegression(), k=4, agreement=0.9),
        RoniRegressor(Ridge(), draws=2, random_state=0),
        RoniClassifier(GaussianNB(), draws=2, random_state=0),
        MicroModelsClassifier(GaussianNB(), models=5, dispute=0.5),
        SeverRegressor(Ridge()),
        SeverClassifier(LogisticRegression(), 0.2),
    ],
    ids=name,
)
def test_the_order_of_the_rows_decides_nothing(estimator):
    x, y, _ = labels() if is_classifier(estimator) else numbers()
    order = np.random.default_rng(1).permutation(y.size)
    one, other = fitted(estimator, x, y), fitted(estimator, x[order], y[order])
    np.testing.assert_array_equal(one.support_mask_[order], other.support_mask_)
    np.testing.assert_array_equal(one.relabelled_[order], other.relabelled_)
    np.testing.assert_array_equal(one.scores_[order], other.scores_)
    np.testing.assert_array_equal(one.predict(x), other.predict(x))
    assert one.relabelled_.any() or not one.support_mask_.all()


def test_a_random_state_is_all_that_draws():
    x, y, _ = labels(n=30, bad=6)
    masks = [
        RoniClassifier(GaussianNB(), draws=1, random_state=seed).fit(x, y).support_mask_
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0] != masks[2]).any()


@pytest.mark.parametrize(
    ("estimator", "found", "lost"),
    [
        (TrimRegressor(Ridge(), 0.2), 1, 0),
        (SeverRegressor(Ridge(), 0.2), 1, 0),
        (FilterRegressor(Ridge(), contamination=0.2), 1, 0),
        (TrimClassifier(LogisticRegression(), 12 / 90), 1, 0),
        (TrimClassifier(RidgeClassifier(), 12 / 90), 1, 0),
        (SeverClassifier(LogisticRegression(), 12 / 90), 1, 0),
        (SeverClassifier(RidgeClassifier(), 12 / 90), 0.8, 0.05),
        (FilterClassifier(GaussianNB(), contamination=12 / 90), 1, 0),
        (MicroModelsClassifier(LogisticRegression(), dispute=0.5), 1, 0),
        (RelabelClassifier(LogisticRegression(), agreement=0.5), 1, 0),
    ],
    ids=name,
)
def test_each_finds_obvious_poison(estimator, found, lost):
    x, y, poison = labels() if is_classifier(estimator) else numbers()
    estimator.fit(x, y)
    suspect = ~estimator.support_mask_ | estimator.relabelled_
    assert np.mean(suspect[poison]) >= found
    assert np.mean(suspect[~poison]) <= lost


def test_three_classes_are_judged_too():
    x, y, poison = labels(classes=3)
    for estimator in (
        TrimClassifier(LogisticRegression(), 12 / 90),
        TrimClassifier(RidgeClassifier(), 12 / 90),
        SeverClassifier(LogisticRegression(), 12 / 90),
    ):
        assert np.mean(~estimator.fit(x, y).support_mask_[poison]) >= 0.9
    relabel = RelabelClassifier(LogisticRegression(), agreement=0.5).fit(x, y)
    np.testing.assert_array_equal(relabel.labels_[poison], (y[poison] - 1) % 3)


def test_trim_on_real_rows_takes_back_most_of_the_damage():
    x, y = real(load_diabetes)
    x = StandardScaler().fit_transform(x)
    rng = np.random.default_rng(0)
    order = rng.permutation(y.size)
    (x, x_test), (y, y_test) = np.split(x[order], [242]), np.split(y[order], [242])
    low, high = x.min(axis=0), x.max(axis=0)
    corners = rng.multivariate_normal(x.mean(axis=0), np.cov(x.T), 60)
    corners = np.where(corners > (low + high) / 2, high, low)
    said = Ridge(10).fit(x, y).predict(corners)
    worst = np.where(said > (y.min() + y.max()) / 2, y.min(), y.max())
    order = rng.permutation(302)
    poisoned = np.concatenate([x, corners])[order], np.concatenate([y, worst])[order]

    def error(model, rows) -> float:
        return float(np.mean((model.fit(*rows).predict(x_test) - y_test) ** 2))

    clean, hurt = error(Ridge(10), (x, y)), error(Ridge(10), poisoned)
    defended = error(TrimRegressor(Ridge(10), 0.2), poisoned)
    assert hurt > 1.5 * clean
    assert defended - clean < 0.4 * (hurt - clean)


@pytest.mark.parametrize("score", [None, Slab()], ids=["trim", "filter"])
def test_they_keep_the_rows_that_our_learners_keep(score):
    """Least squares without a penalty: both trainings have the same minimiser."""
    x, y, _ = numbers()
    if score is None:
        ours = Trim(RidgeLearner(1e-12), 0.2).inspect(Data(x, y))
        theirs = TrimRegressor(LinearRegression(), 0.2).fit(x, y)
        np.testing.assert_allclose(theirs.scores_, 2 * np.asarray(ours.score), rtol=1e-6, atol=1e-9)
        assert theirs.n_iter_ == int(ours.trainings)
        assert theirs.message_.split(";")[0] == ours.message(Data(x, y)).split(";")[0]
    else:
        y = np.sign(y)
        ours = Filter(RidgeLearner(), score, 0.2).inspect(Data(x, y))
        theirs = FilterClassifier(RidgeClassifier(), score, 0.2).fit(x, y)
        np.testing.assert_allclose(theirs.scores_, ours.score, rtol=1e-10)
    np.testing.assert_array_equal(theirs.support_mask_, ours.kept)


@pytest.mark.parametrize("agreement", [0.5, 0.8])
def test_the_labels_are_those_of_the_neighbours(agreement):
    x, y, _ = labels(classes=3, bad=30)
    found = RelabelClassifier(GaussianNB(), 4, agreement, balance=0).fit(x, y)
    ties = 0
    for i in range(90):
        near = np.argsort(np.sum((x - x[i][None, :]) ** 2, axis=1))[1:5]
        counts = np.bincount(y[near], minlength=3)
        best = np.flatnonzero(counts == counts.max())
        ties += len(best) > 1 and y[i] in best
        sure = counts.max() >= 4 * agreement and y[i] not in best
        assert found.labels_[i] == (best[0] if sure else y[i])
        assert found.scores_[i] == 1 - counts[y[i]] / 4
    assert ties > 0


def test_restarts_find_what_the_start_from_all_rows_does_not():
    x, y, poison = numbers(seed=1)
    once, often = (
        TrimRegressor(LinearRegression(), 0.2, restarts=restarts, random_state=0).fit(x, y)
        for restarts in (0, 10)
    )
    assert np.mean(~once.support_mask_[poison]) < 0.5
    np.testing.assert_array_equal(often.support_mask_, ~poison)
    assert often.n_iter_ >= 11 + once.n_iter_


def numeric_slopes(loss, unknowns):
    """Derivatives of every row's loss in each unknown, by central differences."""
    columns = []
    for index in np.ndindex(unknowns.shape):
        step = np.zeros_like(unknowns)
        step[index] = 1e-6
        columns.append((loss(unknowns + step) - loss(unknowns - step)) / 2e-6)
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_sever_scores_the_gradients_of_the_loss(classes):
    """One round: scores are those of the model trained on all rows. 0 classes: regression."""
    inner = LogisticRegression(tol=1e-8) if classes else Ridge()
    x, y, _ = labels(classes=classes) if classes else numbers()
    model = inner.fit(x, y)
    inputs = np.column_stack([x, np.ones(y.size)])

    def loss(unknowns) -> np.ndarray:
        f = inputs @ unknowns.T
        if classes == 0:
            return 0.5 * (f[:, 0] - y) ** 2
        f = np.column_stack([np.zeros(y.size), f]) if classes == 2 else f
        return np.log(np.sum(np.exp(f), axis=1)) - f[np.arange(y.size), y.astype(int)]

    unknowns = np.column_stack([np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)])
    slopes = numeric_slopes(loss, unknowns)
    slopes -= slopes.mean(axis=0)[None, :]
    top = np.linalg.svd(slopes)[2][0]
    sever = (SeverClassifier if classes else SeverRegressor)(inner, 0.2, rounds=1).fit(x, y)
    score = (slopes @ top) ** 2
    score /= score[sever.support_mask_].max()
    np.testing.assert_allclose(sever.scores_, score, rtol=1e-5, atol=1e-7)
    assert sever.support_mask_.sum() == round(0.8 * y.size)


def test_sever_drops_its_share_in_equal_rounds():
    x, y, _ = numbers()
    sizes = []

    class Spy(Ridge):
        def fit(self, X, y, sample_weight=None):
            sizes.append(len(y))
            return super().fit(X, y, sample_weight)

    SeverRegressor(Spy(), 0.2, rounds=3).fit(x, y)
    assert sizes == [60, 56, 52, 48]


class Recorder(GaussianNB):
    seen: list = []  # noqa: RUF012 - shared by clones on purpose

    def fit(self, X, y, sample_weight=None):
        self.seen.append((X, y))
        return super().fit(X, y, sample_weight)


def test_roni_trains_with_and_without_each_row_on_rows_of_all_classes():
    x, y, _ = labels(n=40)
    Recorder.seen.clear()
    roni = RoniClassifier(Recorder(), draws=2, train=6, validation=20, random_state=0).fit(x, y)
    trained = Recorder.seen[:-1]
    assert roni.n_iter_ == len(trained) == 2 * 2 * 40
    asked = set()
    for (less, less_y), (more, more_y) in zip(trained[::2], trained[1::2], strict=True):
        assert len(less) == 6
        assert set(less_y.tolist()) == {0, 1}
        np.testing.assert_array_equal(more[:-1], less)
        np.testing.assert_array_equal(more_y[:-1], less_y)
        assert not (less == more[-1]).all(axis=1).any()
        asked.add(tuple(more[-1]))
    assert asked == set(map(tuple, x))


def test_roni_tolerates_what_it_is_told_to():
    x, y, _ = numbers()
    strict, mild = (
        RoniRegressor(Ridge(), draws=2, tolerance=tolerance, random_state=0).fit(x, y)
        for tolerance in (0.0, 2.0)
    )
    np.testing.assert_array_equal(strict.scores_, mild.scores_)
    np.testing.assert_array_equal(mild.support_mask_, mild.scores_ <= 2)
    assert strict.support_mask_.sum() < mild.support_mask_.sum() < y.size


def test_no_micro_model_judges_the_rows_it_was_trained_on():
    """One neighbour knows its own rows by heart: it would never dispute them."""
    x, y, flipped = labels()
    found = MicroModelsClassifier(KNeighborsClassifier(1), models=2, dispute=0.5).fit(x, y)
    assert found.n_iter_ == 2
    for row in np.flatnonzero(flipped)[:4]:
        assert found.scores_[row] in (0, 1)
    assert np.mean(found.scores_[flipped]) > 0.6
