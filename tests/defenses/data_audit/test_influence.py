"""Influences of rows, held against scikit-learn's own trainings with weights moved a little."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from defenses.data_audit.influence import influence, other_labels
from defenses.data_audit.judge import Rows
from defenses.data_audit.match import match

RNG = np.random.default_rng(3)
X, HELD = RNG.normal(size=(12, 2)), RNG.normal(size=(6, 2))
Y, Z = RNG.uniform(size=12), RNG.uniform(size=6)
WEIGHT, OF_HELD = RNG.uniform(0.5, 2, 12), RNG.uniform(0.5, 2, 6)


def test_a_weight_counts_for_the_strength_of_the_penalty_too() -> None:
    """scikit-learn adds up losses: a row more weakens the penalty beside them."""
    found = match(Ridge(alpha=3.0), "numbers", 0, X.shape)
    rows, held = Rows(X, Y, WEIGHT, np.full(12, -1)), Rows(HELD, Z, OF_HELD, np.full(6, -1))
    other = other_labels(found, rows, 0)
    np.testing.assert_array_equal(other, np.round(1 - Y))
    moved = influence(found, rows, held, other)

    def loss(weight: np.ndarray) -> float:
        twin = found.twin().set_params(tol=1e-14)
        twin.fit(np.concatenate([X, X]), np.concatenate([Y, other]), sample_weight=weight)
        return float(np.average((twin.predict(HELD) - Z) ** 2 / 2, weights=OF_HELD))

    weight, slopes = np.concatenate([WEIGHT, np.zeros(12)]), np.zeros(24)
    for row in range(24):
        step = 1e-4 * (np.arange(24) == row)
        if row < 12:
            slopes[row] = (loss(weight + step) - loss(weight - step)) / 2e-4
        else:  # a copy has no weight to lose
            ahead = 4 * loss(weight + step) - loss(weight + 2 * step)
            slopes[row] = (ahead - 3 * loss(weight)) / 2e-4
    np.testing.assert_allclose(moved.of_removal, -WEIGHT * slopes[:12], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(moved.of_other_label, slopes[12:], rtol=1e-4, atol=1e-8)
    assert moved.sure(moved.of_removal) == pytest.approx(True)
