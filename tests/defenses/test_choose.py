"""Defenses of learners, chosen by rows held out of training."""

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import scale
from test_estimators import numbers
from test_estimators_choice import wide

from bilevel import Data
from bilevel.learners import Logistic, Ridge, Softmax
from defenses import Trim, choose
from defenses.estimators import TrimRegressor
from defenses.estimators._choice import held_out
from defenses.estimators._rows import own_order

SHARES = 0.05, 0.2
FLAT = Logistic(1e-5)


def signs(rate: float) -> tuple[Data, np.ndarray]:
    x, y, flipped = wide(rate)
    return Data(x, 2 * y - 1), flipped


@pytest.mark.slow
def test_a_defense_is_chosen_where_it_pays_and_none_where_it_does_not():
    trims = [Trim(FLAT, share) for share in SHARES]
    data, flipped = signs(0.2)
    choice = choose(trims, data)
    assert choice.learner is trims[1]
    assert choice.number == 1
    assert choice.message.startswith("number 1, Trim: held-out loss 0.")
    assert choice.losses.shape == (3,)
    kept = np.asarray(trims[1].inspect(data).kept)
    assert np.mean(~kept[flipped]) > 0.7
    clean = choose(trims, signs(0)[0])
    assert clean.learner is FLAT
    assert clean.number is None
    assert clean.message.startswith("no defense surely pays: undefended held-out loss 0")


def test_the_estimators_choose_by_the_same_numbers():
    x, y, _ = numbers()
    weight = np.linspace(0.5, 1.5, y.size)
    choice = choose([Trim(Ridge(1e-12), share) for share in SHARES], Data(x, y, weight))
    defenses = [TrimRegressor(LinearRegression(), share) for share in SHARES]
    rows = defenses[0]._checked(x, y, weight)
    found, _ = held_out(defenses, rows.take(own_order(rows)), None)
    assert found is not None
    np.testing.assert_allclose(choice.losses, found.losses @ found.share, rtol=1e-8)
    assert choice.number == found.chosen()


@pytest.mark.slow
def test_a_defense_that_makes_it_worse_is_said_to():
    x, y = load_iris(return_X_y=True)
    data = Data(scale(x), y)
    found = choose([Trim(Softmax(3, 1e-3), 0.3)], data)
    assert found.number is None
    assert found.message.endswith(": this made it worse")


def test_a_training_that_fails_has_the_largest_loss():
    data, _ = signs(0.2)
    ends, stopped = Trim(FLAT, 0.2), Trim(FLAT, 0.2, max_trainings=1)
    choice = choose([stopped, ends], data)
    assert choice.number == 1
    np.testing.assert_allclose(choice.losses[1], 1)


def test_what_is_chosen_depends_on_no_order_and_rows_of_no_weight_do_not_count():
    x, y, _ = wide(0.2)
    y = 2 * y - 1
    order = np.random.default_rng(0).permutation(y.size)
    trims = [Trim(FLAT, share) for share in SHARES]
    weight = np.where(np.arange(y.size) < 130, 1.0, 0.0)
    one = choose(trims, Data(x, y, weight))
    other = choose(trims, Data(x[order], y[order], weight[order]))
    np.testing.assert_allclose(one.losses, other.losses, atol=1e-12)
    turned = np.where(weight == 0, -y, y)
    np.testing.assert_array_equal(choose(trims, Data(x, turned, weight)).losses, one.losses)


@pytest.mark.parametrize(
    ("defenses", "rows", "sentence"),
    [
        ([], 160, r"defenses: got \[\], expected one or more"),
        ([FLAT], 160, "expected one or more defenses around a learner"),
        ([Trim(FLAT), Trim(Logistic(1.0))], 160, "around different learners, expected the same"),
        ([Trim(FLAT)], 9, "data: got 9 rows of weight > 0, expected 10 at least"),
    ],
)
def test_refusals(defenses: Any, rows, sentence):
    x, y, _ = wide(0.2)
    with pytest.raises(ValueError, match=sentence):
        choose(defenses, Data(x[:rows], 2 * y[:rows] - 1))


def test_a_class_that_a_fold_would_be_trained_without_is_refused():
    x, _, _ = wide(0.2)
    with pytest.raises(ValueError, match="expected rows of both classes"):
        choose([Trim(FLAT)], Data(x, np.where(np.arange(x.shape[0]) == 7, 1.0, -1.0)))
