"""What a weight means to scores and estimators, in tables. To a score a row of weight 2 is the row
twice, and to both a row of weight 0 is not there. Estimators and sanitisers count rows: a row twice
is two of them. That a row of weight 0 is nothing to a sanitiser is in `test_failures`.
"""

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeClassifier

from defenses import estimators, scores
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

N, D = 40, 2
RNG = np.random.default_rng(5)
Y = np.where(np.arange(N) % 2, 1.0, -1.0)
X = RNG.normal(size=(N, D)) + 0.8 * Y[:, None]
WEIGHT = RNG.uniform(0.5, 1.8, N)

BY_WEIGHT = {"Distance": scores.Distance(), "Residual": scores.Residual(0.6), "Slab": scores.Slab()}
BY_ROWS = {"Neighbours": scores.Neighbours(3)}
"""To which the k-th nearest is a row, whatever it weighs."""


def score_of(score, x, y, weight):
    inside = np.where(y > 0, weight, 0)
    return score(x, inside, weight - inside)


@pytest.mark.parametrize("name", BY_WEIGHT)
@pytest.mark.parametrize("heavy", [2, 3])
def test_scores_by_weight(name, heavy):
    """A row of the class, or of the others, is twice there, the second time in place of one of no
    weight.
    """
    far = N - 1
    once, twice = ([X.copy(), Y.copy(), WEIGHT.copy()] for _ in range(2))
    once[2][[heavy, far]] = 2, 0
    twice[2][[heavy, far]] = 1
    for column in twice[:2]:
        column[far] = column[heavy]
    ours, theirs, plain = (
        score_of(BY_WEIGHT[name], *columns)[:far] for columns in (once, twice, (X, Y, np.ones(N)))
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    assert np.max(np.abs(ours - plain)) > 1e-3


USED = np.arange(N) % 7 != 3
AMONG = np.where((np.arange(N) % 2)[:, None], np.roll(X, -2, axis=0), 30 * X)
AMONG = np.where(USED[:, None], X, AMONG)  # of the others half are copies, half are far
MANY = np.where(USED, WEIGHT, 0)


@pytest.mark.parametrize("name", BY_WEIGHT | BY_ROWS)
def test_rows_of_weight_zero_have_no_score_to_give(name):
    score = (BY_WEIGHT | BY_ROWS)[name]
    every = score_of(score, X, Y, MANY)[USED]
    alone = score_of(score, X[USED], Y[USED], WEIGHT[USED])
    np.testing.assert_allclose(every, alone, rtol=1e-9, atol=1e-12)


CLASSIFIER, REGRESSOR = RidgeClassifier(), Ridge()
ESTIMATORS = [
    ConfidentLearningClassifier(CLASSIFIER, 3),
    DuplicatesClassifier(CLASSIFIER),
    DuplicatesRegressor(REGRESSOR),
    FilterClassifier(CLASSIFIER, contamination=0.2),
    FilterRegressor(REGRESSOR, contamination=0.2),
    MicroModelsClassifier(CLASSIFIER, 3),
    PartitionClassifier(CLASSIFIER, partitions=3),
    RelabelClassifier(CLASSIFIER, 4),
    RoniClassifier(CLASSIFIER, draws=1, train=6, validation=12, random_state=0),
    RoniRegressor(REGRESSOR, draws=1, train=6, validation=12, random_state=0),
    SeverClassifier(CLASSIFIER, 0.2, rounds=2),
    SeverRegressor(REGRESSOR, 0.2, rounds=2),
    TrimClassifier(CLASSIFIER, 0.2, restarts=3, random_state=0),
    TrimRegressor(REGRESSOR, 0.2, restarts=3, random_state=0),
]


@pytest.mark.parametrize("defense", ESTIMATORS, ids=lambda d: type(d).__name__)
def test_rows_of_weight_zero_are_not_there_for_an_estimator(defense):
    y = X @ [1.0, -2.0] + 0.3 * Y if "Regressor" in type(defense).__name__ else Y
    every = defense.fit(AMONG, y, sample_weight=MANY)
    found = every.predict(X), getattr(every, "support_mask_", USED)[USED]
    alone = defense.fit(X[USED], y[USED], sample_weight=WEIGHT[USED])
    np.testing.assert_allclose(found[0], alone.predict(X), rtol=1e-9)
    np.testing.assert_array_equal(found[1], getattr(alone, "support_mask_", USED[USED]))


def test_every_score_and_estimator_is_in_a_table():
    of_scores = {n for n, v in vars(scores).items() if isinstance(v, type)}
    assert of_scores - {"AbstractScore"} == BY_WEIGHT.keys() | BY_ROWS.keys()
    assert {type(d).__name__ for d in ESTIMATORS} == {
        n for n, v in vars(estimators).items() if isinstance(v, type)
    }
