"""Edges of frames, groups, label maps, figures and recipes: what is refused, named, passed on."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from attacks import Box, Given, fairness
from attacks._frame_kinds import Categories, Constant, Integer
from attacks.fairness._groups import groups_of, scarce
from attacks.frames import encode
from attacks.goals import Frogs
from attacks.recipes import (
    anchor_random,
    collide_features,
    corrupted,
    flip_groups,
    kuncheva_index,
    selected,
    stat_p,
)
from attacks.recipes._recipe import Recipe, recipe
from attacks.recipes.label_flips import _rank
from attacks.transfer import gradient_size, input_gradient_size, sizes
from attacks.victims import Rates, _rate
from bilevel import Data
from bilevel.learners import LinearModel
from bilevel.losses import Logistic as LogisticLoss

LETTERS = Categories(np.dtype(object), ("a", "b", "c"), False)
REFERRED = Categories(np.dtype(object), ("a", "b", "c"), True)
BYTES = Integer(np.dtype(np.int8), -128, 127)
SEVEN = Constant(np.dtype(int), 7)
FRAME: Any = pd.DataFrame({"a": [0, 5, 10], "y": [0.0, 0.5, 1.0]})
CODED = encode(FRAME, "y")
KEY = jax.random.key(0)
X = np.arange(8.0).reshape(4, 2) / 8
Y = np.array([1.0, -1.0, 1.0, -1.0])
TRAIN = Data(X, Y, [1.0, 3.0, 1.0, 1.0])
GROUP = np.array([0, 0, 1, 1])
LOSS = LogisticLoss()
MODEL = LinearModel(jnp.array([3.0, -4.0]), jnp.zeros(()))


def of(*cells) -> np.ndarray:
    return np.array(cells)[:, None]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: SEVEN.decode(of(-1.0), "k"), r"^x: column 'k' is not 0 in a row"),
        (lambda: BYTES.decode(of(-1.0), "k"), r"^x: column 'k' does not fit into int8"),
        (lambda: LETTERS.decode(np.array([[-1.0, 0, 1]]), "k"), r"^x: column 'k' is no valid one"),
        (lambda: REFERRED.decode(np.array([[1.0, 1]]), "k"), r"^x: column 'k' is no valid one-hot"),
        (lambda: LETTERS.of_targets(np.array([-1.0]), "k"), r"^y: column 'k' is no label"),
        (lambda: LETTERS.of_targets(np.array([3.0]), "k"), r"^y: column 'k' is no label"),
        (lambda: LETTERS.of_targets(np.array([0, 0.6, 0.6]), "k"), r"^y: .*, first in row 1;"),
        (lambda: SEVEN.encode(pd.Series([7, np.nan, np.nan], name="k")),
         r"^frame: column 'k' has 2 missing values, the first in row 1;"),
        (lambda: encode(FRAME.assign(a=[-(2**60), 0, 1]), "y"), r"^frame: .*, which is too large"),
        (lambda: CODED.decode(CODED.x, CODED.y[:2]), r"^x, y: got shapes \(3, 1\) and \(2,\), exp"),
        (lambda: CODED.decode(CODED.x, CODED.y * np.nan), r"^x, y: got values that are NaN"),
        (lambda: groups_of([0, np.nan, 1, np.nan], 4), r"the first is row 1; drop"),
        (lambda: groups_of([0, 0.5, 1, -1], 4), r"^group: got 0\.5 in row 1, expected"),
        (lambda: groups_of([0, 2, 4, 4], 4), r"^group: no row is of group 1, expected"),
        (lambda: fairness.report(np.array([-1, 0, 1]), np.ones(3), [0, 1, 1]), r"^y: got labels"),
        (lambda: Given([5, 1, 1]).check(jnp.array([0, 1, 2])), r"^labels: got the class 5, which"),
        (lambda: sizes(jnp.ones(())), r"^gradient: got leaves of shapes"),
        (lambda: flip_groups(KEY, Data(X, [1, 1, 1, 1]), GROUP, 2), r"^group: group 1 has no trai"),
        (lambda: flip_groups(KEY, TRAIN, GROUP, 2, share=-0.1), r"^share: got -0\.1, expected"),
        (lambda: anchor_random(KEY, TRAIN, GROUP, 2, radius=np.nan), r"^radius: got nan, expected"),
        (lambda: selected(np.ones(3), 0), r"^count: got 0, expected 1 to 3, the features"),
        (lambda: kuncheva_index([[0], [-1]], 3), r"^sets: got \[-1\], expected different indices"),
        (lambda: kuncheva_index([[], []], 3), r"^sets: got 0 of 3 features, expected some"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_a_sentence(make, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


def test_features_of_a_column_come_after_all_of_those_before() -> None:
    found = encode(FRAME.assign(c=["u", "v", "w"])[["c", "a", "y"]], "y")
    assert (found.columns_of("c"), found.columns_of("a")) == ((0, 1, 2), (3,))


def test_groups_may_be_truth_values_and_the_first_that_lacks_rows_is_named() -> None:
    np.testing.assert_array_equal(groups_of([True, False, True], 3), [1, 0, 1])
    found = scarce(np.arange(4), np.array([True, False, False, True]))
    assert found["rows"].startswith("group 0 has a single row")
    assert found["positives"].startswith("group 1 has no row with the label +1")
    assert found["negatives"].startswith("group 0 has no row with the label -1")


def test_a_report_notes_groups_by_their_labels_not_by_what_is_predicted() -> None:
    y, predicted = np.array([1, 1, -1, 1, -1]), np.array([1, -1, -1, -1, -1])
    found = fairness.report(y, predicted, [0, 0, 0, 1, 1])
    assert found.notes == ()
    line = "group 0: 3 rows, accuracy 0.667, selected 0.333, false negatives 0.500, false pos"
    assert line in str(found)


def test_an_interval_is_one_of_shares_and_rows_without_weight_are_not_counted() -> None:
    assert Rates(jnp.array([0.0, 0.3]), jnp.array([5, 5])).interval[0] == 0
    judged = Data(X, Y, [1.0, 0.0, 2.0, 1.0])
    rate = _rate(jnp.array([True, True, False, True]), jnp.array([True] * 3 + [False]), judged)
    assert (float(rate.each), int(rate.rows)) == (pytest.approx(1 / 3), 2)


@pytest.mark.stand_ins
def test_sizes_are_in_the_norm_that_was_asked_for() -> None:
    attack: Any = lambda z: jnp.sum(z * jnp.array([[3.0, -4.0]]))  # noqa: E731
    np.testing.assert_allclose(gradient_size(attack, jnp.zeros((1, 2)), 1).rows, [7])
    found = input_gradient_size(MODEL, jnp.zeros((1, 2)), jnp.ones(1), LOSS, 1)
    np.testing.assert_allclose(found, [3.5])


def test_a_collision_has_all_that_was_given_for_each_network() -> None:
    other = LinearModel(2 * MODEL.w, MODEL.bias)
    made: Any = collide_features(
        TRAIN, [3], X[0], 1, [MODEL, other], Frogs(), draws=2, key=KEY, steps=5, domain=Box(0, 1)
    )
    first, second = made.attack.objectives
    assert [attack.goal.draws for attack in (first, second)] == [2, 2]
    assert first.key is KEY
    assert second.key is KEY
    assert second.learner.model is other
    assert (made.steps, first.goal.collision) == (5, Frogs())


def test_a_flip_without_a_score_ranks_before_those_that_are_made() -> None:
    assert int(jnp.argmax(_rank(jnp.array([2.0, np.nan]), jnp.array([1.0, 0.0])))) == 1


def test_anchors_have_labels_by_weight_and_places_on_both_sides() -> None:
    made = anchor_random(KEY, TRAIN, GROUP, 6, radius=0.1, domain=Box(-1.0, 2.0))
    assert int(jnp.sum(made.y > 0)) == 4  # of the weight 4 of 6 is of label -1
    away = np.asarray(made.x) - X[np.asarray(made.rows)]
    assert away.min() < 0 < away.max()


def test_statistical_poison_has_corners_and_targets_of_the_range() -> None:
    model = LinearModel(jnp.array([30.0, 40.0]), -jnp.ones(()))
    made = stat_p(KEY, 40, Data(3 * X, Y), model, Box(-5.0, 5.0))
    assert set(np.unique(made.x)) <= {0.0, 1.0}
    assert set(np.unique(made.y)) == {0.0, 1.0}
    still = stat_p(KEY, 40, Data(np.full((4, 2), 0.35), Y), model, Box(-5.0, 5.0))
    assert 0 < np.mean(still.x) < 0.15  # one and a half deviations of .1 from a half


def test_a_step_of_corruption_is_a_tenth_of_the_radius() -> None:
    moved: Any = corrupted(MODEL, Data(X, Y), LOSS, 0.5, steps=1)
    away = np.hypot(*np.asarray(moved.w - MODEL.w)), float(moved.bias)
    np.testing.assert_allclose(np.hypot(*away), 0.5 * 5 / 10, rtol=1e-9)


@pytest.mark.stand_ins
def test_a_recipe_needs_a_step_and_passes_all_on(monkeypatch) -> None:
    reach = SimpleNamespace(check_start=lambda z, data: (z, "checked", data))
    attack: Any = SimpleNamespace(reach=reach, data="rows")
    begun = recipe(attack, None, attack, 3)
    assert begun.start == (None, "checked", "rows")
    assert (begun.attack, begun.ascent, begun.steps) == (attack, attack, 3)
    with pytest.raises(ValueError, match=r"^steps: got 0"):
        recipe(attack, None, attack, 0)
    monkeypatch.setattr("bilevel.maximize", lambda *given, **settings: (given, settings))
    made: Any = Recipe(attack, None, attack, 3)
    given, settings = made.climb(record=1, reseed=2, state=3, key=4)
    assert given == (attack, None)
    assert settings == dict(steps=3, optimizer=attack, record=1, reseed=2, state=3, key=4)
