"""Strengths chosen, and defenses checked, by rows held out of training."""

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from test_estimators import labels, numbers, real

from defenses._held_out import HeldOut
from defenses.estimators import (
    ConfidentLearningClassifier,
    DuplicatesClassifier,
    FilterClassifier,
    FilterRegressor,
    RelabelClassifier,
    SeverClassifier,
    TrimClassifier,
    TrimRegressor,
)
from defenses.estimators._choice import held_out
from defenses.estimators._rows import Rows
from defenses.estimators._sanitiser import Seen

N = 160
PLAIN = LogisticRegression(C=1e3)


def wide(rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two classes in so many columns that labels that are wrong cost a model without a penalty."""
    rng = np.random.default_rng(3)
    sides = np.arange(N) % 2
    x = rng.normal(size=(N, 12)) + 0.8 * (2 * sides - 1)[:, None]
    flipped = rng.permutation(N) < rate * N
    return x, np.where(flipped, 1 - sides, sides), flipped


@pytest.mark.parametrize("defense", [TrimClassifier(PLAIN), SeverClassifier(PLAIN)])
def test_a_strength_is_chosen_where_it_pays_and_none_where_it_does_not(defense):
    x, y, flipped = wide(0.2)
    fitted: Any = defense.fit(x, y)
    assert fitted.chosen_ in fitted._values
    assert np.mean(~fitted.support_mask_[flipped]) > 0.7
    assert np.mean(~fitted.support_mask_[~flipped]) < 0.25
    name = fitted._strength
    assert f"; cross-validation chose {name}={fitted.chosen_}: held-out loss " in fitted.message_
    x, y, _ = wide(0)
    fitted.fit(x, y)
    assert fitted.chosen_ is None
    assert fitted.support_mask_.all()
    assert fitted.message_.endswith(f"cross-validation: no {name} surely pays, so nothing was done")
    np.testing.assert_array_equal(fitted.predict(x), PLAIN.fit(x, y).predict(x))


def test_poison_among_the_rows_held_out_does_not_hide_its_harm():
    x, y, poison = numbers()
    for estimator in (TrimRegressor(Ridge()), FilterRegressor(Ridge())):
        estimator.fit(x, y)
        assert not estimator.support_mask_[poison].any()
        assert np.mean(~estimator.support_mask_[~poison]) < 0.15
    clean = TrimRegressor(LinearRegression()).fit(x[~poison], y[~poison])
    assert clean.chosen_ is None


def test_what_is_chosen_depends_on_no_order_of_the_rows():
    x, y, _ = wide(0.2)
    order = np.random.default_rng(0).permutation(N)
    one, other = TrimClassifier(PLAIN).fit(x, y), TrimClassifier(PLAIN).fit(x[order], y[order])
    assert one.chosen_ == other.chosen_ is not None
    assert one.message_ == other.message_
    np.testing.assert_array_equal(one.support_mask_[order], other.support_mask_)


def test_a_share_that_makes_it_worse_is_said_to():
    x, y = real(load_iris)
    trim = TrimClassifier(LogisticRegression(max_iter=500), 0.3, check=True).fit(x, y)
    assert ": this made it worse" in trim.message_
    assert trim.chosen_ == 0.3
    x, y, _ = wide(0.2)
    helps = TrimClassifier(PLAIN, 0.2, check=True).fit(x, y)
    assert "held-out loss" in helps.message_
    assert "worse" not in helps.message_
    assert "held-out" not in TrimClassifier(PLAIN, 0.2).fit(x, y).message_


@pytest.mark.parametrize(
    "defense",
    [
        FilterClassifier(GaussianNB(), contamination=0.1, check=True),
        RelabelClassifier(GaussianNB(), agreement=0.5, check=True),
        DuplicatesClassifier(GaussianNB(), check=True),
        ConfidentLearningClassifier(GaussianNB()),
    ],
    ids=lambda d: type(d).__name__,
)
def test_every_sanitiser_can_be_checked(defense):
    x, y, _ = labels()
    fitted: Any = defense.fit(x, y)
    assert "; held-out loss 0.1" in fitted.message_
    assert fitted.n_iter_ >= 10
    fitted.set_params(check=False).fit(x, y)
    assert "held-out" not in fitted.message_


def test_held_out_rows_are_judged_by_what_defenses_make_of_the_others():
    """Trained on the labels that they change, of the rows that they keep, which have weights."""
    n = 30
    x, y, weight = np.arange(n)[:, None], np.arange(1.0, n + 1), np.linspace(1, 2, n)
    trained = []

    class Stub:
        def __init__(self, kept: int):
            self.kept = kept

        def _group(self, rows: Rows) -> np.ndarray:
            return np.zeros(rows.y.size)

        def _inspect(self, rows: Rows) -> Seen:
            return Seen(-rows.y, rows.y % 3 == self.kept, rows.y, 2)

        def _train(self, rows: Rows) -> Rows:
            trained.append((self.kept, rows))
            return rows

        def _misses(self, model: Rows, rows: Rows) -> np.ndarray:
            return np.sum(model.y * model.weight) + rows.y

        def _bounded(self, misses: np.ndarray) -> np.ndarray:
            return misses

    stubs: Any = [Stub(1), Stub(2)]
    found, spent = held_out(stubs, Rows(x, y, y, weight, True, x), None)
    assert found is not None
    assert spent == 5 * (1 + 2 * 3)
    assert [kept for kept, _ in trained] == [1, 1, 2] * 5
    np.testing.assert_allclose(found.share, weight / weight.sum())
    for plain, *others in zip(*[iter(rows for _, rows in trained)] * 3, strict=True):
        held = ~np.isin(y, plain.y)
        assert held.sum() == 6
        np.testing.assert_array_equal(plain.weight, weight[~held])
        np.testing.assert_allclose(found.losses[0, held], y[held] + y[~held] @ weight[~held])
        for number, rows in enumerate(others, 1):
            kept = ~held & (y % 3 == number)
            np.testing.assert_array_equal(rows.y, -y[kept])
            of_held = y[held] - y[kept] @ weight[kept]
            np.testing.assert_allclose(found.losses[number, held], of_held)


def test_the_weakest_of_equally_good_ones_is_chosen_if_it_surely_pays():
    rng = np.random.default_rng(0)
    plain = (rng.random(400) < 0.4) * 1.0
    less = np.where(rng.random(400) < 0.5, 0, plain)
    little = np.where(np.arange(400) == np.flatnonzero(plain)[0], 0, plain)
    even = less.copy()
    even[np.flatnonzero(less)[:3]], even[np.flatnonzero(1 - less)[:2]] = 0, 1
    share = np.full(400, 1 / 400)

    def found(*losses) -> HeldOut:
        return HeldOut(np.array([plain, *losses]), share)

    assert found(less, even, plain).chosen() == 0  # even is one row better, of five that differ
    assert found(little, even, less).chosen() == 1
    assert found(little).chosen() is None
    assert found(plain, plain).chosen() is None
    worse = np.maximum(plain, rng.random(400) < 0.2)
    assert found(worse).told(0).endswith(": this made it worse")
    assert "worse" not in found(little).told(0)
    # What is near the least is asked for its own gain: this one gains on half of the rows alone.
    mixed = np.where(np.arange(16) % 2, 0.82, 0.0)
    sixteen = np.array([np.full(16, 0.5), mixed, np.full(16, 0.4)])
    assert HeldOut(sixteen, np.full(16, 1 / 16)).chosen() is None
    assert HeldOut(sixteen[[0, 2]], np.full(16, 1 / 16)).chosen() == 0
    # Rows of no weight do not count.
    only = HeldOut(np.array([plain, less]), np.where(less == plain, share, 0))
    assert only.chosen() is None


def test_a_mean_exceeds_another_by_standard_errors_of_their_difference():
    rng = np.random.default_rng(1)
    losses, share = rng.random((2, 30)), rng.random(30)
    losses[0] += 1.0  # far above, so that the spread about zero would be another
    share /= share.sum()
    rise = losses[0] - losses[1]
    mean = np.average(rise, weights=share)
    error = np.sqrt(np.sum(share**2 * (rise - mean) ** 2))
    held = HeldOut(losses, share)
    assert held.exceeds(0, 1, 0.999 * mean / error)
    assert not held.exceeds(0, 1, 1.001 * mean / error)
    assert not held.exceeds(1, 0, 0)


def test_losses_of_numbers_are_bounded_and_those_of_classes_are_errors():
    rows = np.array([[1.0, 4.0, 9.0, 1e9], [4.0, 4.0, 0.0, 0.0]])
    bounded = TrimRegressor(Ridge())._bounded(rows)
    np.testing.assert_allclose(bounded, rows / (rows + 6.5))
    np.testing.assert_array_equal(TrimClassifier(GaussianNB())._bounded(rows), rows)


@pytest.mark.parametrize("rows", [2, 6])
def test_few_rows_are_left_as_they_are(rows):
    x, y, _ = labels(n=rows, bad=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trim = TrimClassifier(RidgeClassifier()).fit(x, y)
    assert trim.chosen_ is None
    assert trim.support_mask_.all()
    assert trim.n_iter_ == 0
