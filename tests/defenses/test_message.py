"""The sentence of a sanitiser, its numbers counted by hand: rows of weight zero are none."""

import numpy as np

from bilevel import Data
from bilevel.learners import Ridge
from defenses import Filter, SoftFilter
from defenses.sanitise._message import sentence

USED = np.array([True, True, True, True, True, False, False, False])
GROUP = np.array([-1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -1.0])
KEPT = np.array([True, False, True, True, False, False, True, True])
SCORE = np.array([2.0, 5.0, 1.0, 2.0, 8.0, 99.0, 0.01, 0.01])
NONE = np.zeros(8, bool)


def test_shares_and_the_gap_are_of_rows_that_count():
    text = sentence(USED, KEPT, NONE, SCORE, GROUP, 7)
    assert text.startswith(
        "kept 3 of 5 rows (unchanged: 50 % of class -1, 67 % of class 1); 7 trainings; the least "
        "suspect row dropped scores 2.5 times the most suspect one kept of its class"
    )
    assert "no gap" not in text
    assert text.endswith("compare recall with that of the undefended model")
    assert "warning: class -1 loses more than the others" in text


def test_labels_that_were_changed_are_not_counted_as_unchanged():
    changed = np.arange(8) == 2
    text = sentence(USED, USED, changed, SCORE, GROUP, 0)
    assert text.startswith(
        "kept 5 of 5 rows, relabelled 1 (unchanged: 100 % of class -1, 67 % of class 1)"
    )
    assert "of its class" not in text  # nothing was dropped
    assert "warning: class 1 loses more" in text


def test_one_class_has_no_shares_and_a_small_gap_is_said():
    text = sentence(USED, KEPT, NONE, np.where(KEPT, 4.0, 5.0), np.zeros(8), 2)
    assert text.startswith("kept 3 of 5 rows; 2 trainings; the least suspect row dropped scores")
    assert "1.25 times the most suspect one kept: no gap" in text
    assert "warning" not in text


def test_a_defense_says_of_its_rows_what_it_says_without_those_of_weight_zero():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), np.where(np.arange(40) % 2, 1.0, -1.0)
    weight = np.where(np.arange(40) % 4 == 1, 0.0, 1.0)  # half of the rows of one class
    some = weight > 0
    defense = Filter(Ridge(0.1), contamination=0.2)
    whole, few = Data(x, y, weight), Data(x[some], y[some])
    assert defense.inspect(whole).message(whole) == defense.inspect(few).message(few)


def test_a_soft_filter_tells_the_classes_as_a_hard_one_does():
    rng = np.random.default_rng(1)
    data = Data(rng.normal(size=(12, 2)), np.where(np.arange(12) % 3, 1.0, -1.0))
    soft, hard = (kind(Ridge(0.1)).inspect(data) for kind in (SoftFilter, Filter))
    np.testing.assert_array_equal(soft.group, hard.group)
    assert "of class -1" in soft.message(data)
    regression = SoftFilter(Ridge(0.1), classes=()).inspect(data)
    assert "class" not in regression.message(data)
