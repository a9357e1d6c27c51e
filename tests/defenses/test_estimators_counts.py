"""What the meta-estimators report of themselves, counted: trainings, and parts of one class."""

from typing import ClassVar

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeClassifier

from defenses.ensemble._parts import part_of
from defenses.estimators import (
    ConfidentLearningClassifier,
    DuplicatesClassifier,
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

RNG = np.random.default_rng(0)
N = 60
SIDES = np.where(np.arange(N) % 2, 1.0, -1.0)
X = RNG.normal(size=(N, 3)) + 0.7 * SIDES[:, None]
Y = np.where(RNG.random(N) < 0.15, -SIDES, SIDES)
TARGETS = X @ [1.0, -2.0, 0.5] + RNG.normal(size=N) * np.where(np.arange(N) % 6, 0.1, 3.0)


class CountedClassifier(RidgeClassifier):
    """Counts the trainings of all its clones."""

    fits: ClassVar[list[int]] = []

    def fit(self, X, y, sample_weight=None):
        self.fits.append(len(y))
        return super().fit(X, y, sample_weight)


class CountedRegressor(Ridge):
    """The same for numbers."""

    fits: ClassVar[list[int]] = []

    def fit(self, X, y, sample_weight=None):
        self.fits.append(len(y))
        return super().fit(X, y, sample_weight)


CLASSIFIER, REGRESSOR = CountedClassifier(), CountedRegressor()
COUNTED = [
    ConfidentLearningClassifier(CLASSIFIER, 4),
    DuplicatesClassifier(CLASSIFIER),
    FilterRegressor(REGRESSOR),
    MicroModelsClassifier(CLASSIFIER, 4),
    RelabelClassifier(CLASSIFIER),
    RoniClassifier(CLASSIFIER, draws=1, train=15, random_state=0),
    RoniRegressor(REGRESSOR, draws=1, train=15, random_state=0),
    SeverClassifier(CLASSIFIER),
    SeverRegressor(REGRESSOR, rounds=3),
    TrimClassifier(CLASSIFIER),
    TrimClassifier(CLASSIFIER, 0.2, restarts=9, random_state=0),
    TrimRegressor(REGRESSOR, 0.2, restarts=9, random_state=1),
]


@pytest.mark.parametrize("defense", COUNTED, ids=lambda d: type(d).__name__)
def test_trainings_reported_are_trainings_made(defense) -> None:
    """All but the last, which is the one that the rows were judged for."""
    of_classes = isinstance(defense.estimator, CountedClassifier)
    fits = type(defense.estimator).fits
    fits.clear()
    defense.fit(X, Y if of_classes else TARGETS)
    assert defense.n_iter_ == len(fits) - 1
    assert fits[-1] == np.sum(defense.support_mask_)
    assert f"; {len(fits) - 1} trainings" in defense.message_


def test_rows_that_are_all_alike_are_judged_without_a_training() -> None:
    """They are in one fold, whose model would have no rows."""
    fits = CountedClassifier.fits
    fits.clear()
    defense = ConfidentLearningClassifier(CLASSIFIER).fit(np.ones((6, 2)), np.ones(6))
    assert defense.n_iter_ == len(fits) == 0


@pytest.mark.parametrize("partitions", [4, 30])
def test_parts_of_one_class_are_counted_and_empty_ones_are_not(partitions: int) -> None:
    model = PartitionClassifier(RidgeClassifier(), partitions).fit(X, Y)
    part = part_of(X, partitions)
    held = [set(Y[part == each]) for each in range(partitions)]
    alone, used = sum(len(h) == 1 for h in held), sum(len(h) > 0 for h in held)
    assert used < partitions or partitions == 4
    start = f"{N} rows in {used} parts, {alone} of them of a single class"
    rare, many = min(((-1.0, np.sum(Y < 0)), (1.0, np.sum(Y > 0))), key=lambda each: each[1])
    told = f"; a part has {many / partitions:.3g} rows of class {rare} on average"
    assert model.message_.startswith(start + told)
