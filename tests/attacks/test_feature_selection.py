"""Feature selection: the indices against counting by hand and lots, the attack against none."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from attacks.recipes.feature_selection import (
    kuncheva_index,
    lustgarten_index,
    poison_feature_selection,
    selected,
)
from bilevel import Data, append
from bilevel.learners import ElasticNet, Lasso, Ridge
from bilevel.losses import Squares


def test_selected_features_are_those_of_largest_weight():
    w = np.array([0.0, -3.0, 0.5, 0.0, 2.0])
    np.testing.assert_array_equal(selected(w), [1, 2, 4])
    np.testing.assert_array_equal(selected(w, 2), [1, 4])
    np.testing.assert_array_equal(selected(w, 4), [0, 1, 2, 4])  # of equals the first


def test_indices_counted_by_hand():
    # r 2, k 3, d 10: (2 - .9) / (3 - .9)
    assert kuncheva_index([[0, 1, 2], [2, 1, 9]], 10) == pytest.approx(1.1 / 2.1)
    # pairs: 1 and twice r 0, -.9 / 2.1
    sets = [[0, 1, 2], [0, 1, 2], [3, 4, 5]]
    assert kuncheva_index(sets, 10) == pytest.approx((1 - 2 * 0.9 / 2.1) / 3)
    assert kuncheva_index([[0, 1], [2, 3]], 4) == -1
    # r 2, k 2 and 4, d 8: (2 - 1) / (2 - 0)
    assert lustgarten_index([[0, 1], [0, 1, 2, 3]], 8) == pytest.approx(0.5)
    assert lustgarten_index([[0, 1], [0, 1]], 8) == pytest.approx(1 - 2 / 8)
    # r 5, k 6 and 6, d 8: at least 4 are common, (5 - 4.5) / (6 - 4)
    assert lustgarten_index([range(6), [0, 1, 2, 3, 4, 7]], 8) == pytest.approx(0.25)
    assert lustgarten_index([[], [1, 2]], 8) == 0


def test_a_choice_by_lot_has_index_zero():
    """Over all sets of a size, exactly."""
    sets = [list(s) for s in itertools.combinations(range(6), 2)]
    assert np.mean([kuncheva_index([sets[0], s], 6) for s in sets]) == pytest.approx(0, abs=1e-15)
    three = [list(s) for s in itertools.combinations(range(6), 3)]
    assert np.mean([lustgarten_index([sets[0], s], 6) for s in three]) == pytest.approx(
        0, abs=1e-15
    )


RNG = np.random.default_rng(0)
D, M = 6, 6


def rows(n):
    y = np.where(np.arange(n) % 2, 1.0, -1.0)
    x = RNG.uniform(0, 1, (n, D))
    x[:, :2] = np.clip(0.7 * x[:, :2] + 0.15 + 0.3 * y[:, None], 0, 1)
    return Data(x, y)


TRAIN, HELD_OUT = rows(40), rows(60)
START, LABELS = TRAIN.x[:M], -TRAIN.y[:M]


@pytest.mark.parametrize("learner", [Lasso(0.02), ElasticNet(0.01, 0.01), Ridge(0.02)])
def test_the_attack_raises_the_learner_s_own_objective_on_validation_rows(learner):
    def objective(model):
        l1, l2 = (float(getattr(learner, name, 0.0)) for name in ("l1", "l2"))
        loss = jnp.mean(Squares()(HELD_OUT.y, model.decision(HELD_OUT.x)))
        return float(loss + l1 * jnp.sum(jnp.abs(model.w)) + 0.5 * l2 * jnp.sum(model.w**2))

    result = poison_feature_selection(TRAIN, START, LABELS, HELD_OUT, learner, steps=20).climb()
    assert jnp.all((result.z >= 0) & (result.z <= 1))
    clean, flipped, attacked = (
        learner.fit(data).model
        for data in (TRAIN, append(TRAIN, START, LABELS), append(TRAIN, result.z, LABELS))
    )
    np.testing.assert_allclose(result.value, objective(attacked), rtol=1e-8)
    np.testing.assert_allclose(result.history[0], objective(flipped), rtol=1e-8)
    assert objective(attacked) > 1.1 * objective(flipped)
    np.testing.assert_array_equal(selected(np.asarray(clean.w), 2), [0, 1])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: selected(np.ones(3), 4), r"^count: got 4, expected 1 to 3"),
        (lambda: kuncheva_index([[0]], 3), r"^sets: got 1, expected two"),
        (lambda: kuncheva_index([[0], [3]], 3), r"^sets: got \[3\], expected different indices"),
        (lambda: kuncheva_index([[0, 0], [1, 2]], 3), r"^sets: got \[0 0\], expected different"),
        (lambda: kuncheva_index([[0], [1, 2]], 4), r"^sets: got sizes \[1, 2\], .* lustgarten"),
        (lambda: kuncheva_index([range(3), range(3)], 3), r"^sets: got 3 of 3 features"),
    ],
)
def test_bad_input_is_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
