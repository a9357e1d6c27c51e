"""What RONI's draws and the folds of confident learning are, held against loops of NumPy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel import Data
from bilevel.learners import Ridge
from defenses import (
    ConfidentLearning,
    MicroModels,
    Partition,
    Roni,
    SoftMicroModels,
    SoftPartition,
)
from defenses._hash import row_hash
from defenses.ensemble._parts import part_of
from defenses.sanitise import confident_learning
from defenses.sanitise._sets import others, told_apart

RNG = np.random.default_rng(12)
ROWS, DRAWS, TRAIN, VALIDATION, L2 = 14, 2, 4, 5, 0.1
X = RNG.normal(size=(ROWS, 2))
Y = np.where(X[:, 0] + 0.8 * RNG.normal(size=ROWS) > 0, 1.0, -1.0)
WEIGHT = RNG.uniform(0.5, 2, ROWS)


def ridge(rows: np.ndarray) -> np.ndarray:
    """Decisions on all rows of a ridge regression on some, by its normal equations."""
    x, share = np.c_[X, np.ones(ROWS)], WEIGHT[rows] / WEIGHT[rows].sum()
    gram = x[rows].T @ (share[:, None] * x[rows]) + np.diag([L2, L2, 0])
    return x @ np.linalg.solve(gram, x[rows].T @ (share * Y[rows]))


def test_an_impact_is_of_rows_that_neither_training_has_seen() -> None:
    used, signs = np.ones(ROWS, bool), np.stack([Y > 0, Y <= 0])
    impacts = np.zeros(ROWS)
    for seed in range(3 * DRAWS, 4 * DRAWS):
        sets = others(told_apart(row_hash(X, Y, seed), used), used, signs, TRAIN, VALIDATION)
        for row, one in enumerate(np.asarray(sets)):
            train, held = one[:TRAIN], one[TRAIN:]
            assert not {*train, row} & set(held)
            assert len(held) == VALIDATION
            wrong = [
                np.sign(ridge(rows)[held]) != Y[held] for rows in (np.append(train, row), train)
            ]
            rise = wrong[0].astype(float) - wrong[1]
            impacts[row] += np.average(rise, weights=WEIGHT[held]) / DRAWS
    defense = Roni(Ridge(L2), draws=DRAWS, train=TRAIN, validation=VALIDATION, seed=3)
    seen = defense.inspect(Data(X, Y, WEIGHT))
    np.testing.assert_allclose(seen.score, impacts, atol=1e-12)
    assert np.any(impacts != 0)
    assert int(seen.trainings) == 2 * ROWS * DRAWS


def test_folds_are_drawn_by_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    class Enough(Exception):
        pass

    def folds_of(*args: Any):
        given.append(args)
        raise Enough

    monkeypatch.setattr(confident_learning, "folds_of", folds_of)
    data = Data(X, Y, np.arange(ROWS) % 3)
    for seed in (0, 7):
        defense = ConfidentLearning(Ridge(L2), folds=4, seed=seed)
        with jax.disable_jit(), pytest.raises(Enough):
            defense.inspect(data)
        hashes, y, used, folds = given[-1]
        np.testing.assert_array_equal(hashes, row_hash(jnp.asarray(X), jnp.asarray(Y), seed))
        np.testing.assert_array_equal(y, Y)
        np.testing.assert_array_equal(used, np.arange(ROWS) % 3 > 0)
        assert folds == 4


@pytest.mark.parametrize("kind", [Partition, SoftPartition, MicroModels, SoftMicroModels])
def test_parts_are_drawn_by_the_seed_in_a_defense_and_its_surrogate_alike(kind: Any) -> None:
    data = Data(X, Y)
    for seed in (0, 9):
        places = kind(Ridge(L2), 3, seed=seed).places(data)
        np.testing.assert_array_equal(places, part_of(jnp.asarray(X), 3, seed))
    assert not np.array_equal(part_of(X, 3, 0), part_of(X, 3, 9))
