"""Edges of goals and compositions: what is refused, what is named, what is passed on."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attacks import Box, Perturb, World, fairness, goals
from attacks.capabilities import WithTrigger
from attacks.triggers import Added
from bilevel import Data
from bilevel.learners import AbstractModel, Fixed, LinearModel
from bilevel.losses import Logistic as LogisticLoss

X = np.arange(8.0).reshape(4, 2) / 8
Y = np.array([1.0, -1.0, 1.0, -1.0])
DATA, ROWS = Data(X, Y), jnp.asarray(X)
ODD = Data(X, [0.0, 1.0, 0.0, 1.0])
WIDE = jnp.ones((1, 3))
LOSS = LogisticLoss()
MODEL = LinearModel(jnp.array([1.0, -2.0]), jnp.zeros(()))
GROUPS = np.array([0, 0, 1, 1])
POISONED = World(DATA, DATA)
PARITY = fairness.ParityDifference


def counts(y, f) -> Any:
    return (y * f > 0).astype(int)


class Seen(AbstractModel):
    """A model whose decisions and features are noise of the key that it is given."""

    w: Any

    def decision(self, x, *, key=None):
        assert key is not None
        return x @ self.w + jax.random.normal(key, x.shape[:1])

    def predict(self, x):
        return x


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: goals.Colliding(WIDE).check(DATA), r"of shape \(3,\), expected \(2,\), as in"),
        (lambda: goals.indiscriminate(X, Y, counts).score(MODEL, POISONED),
         r"^loss: returned int\d+ of shape \(4,\), expected a floating number"),
        (lambda: goals.Cancelling(LOSS).check(ODD), r"^y: got"),
        (lambda: goals.Resembling(ROWS * jnp.nan).check(DATA), r"^x: 8 of 8 values are NaN"),
        (lambda: goals.disparity(X, Y, GROUPS, PARITY(), np.inf), r"^temperature: got inf"),
        (lambda: goals.disparity(X, Y, GROUPS, PARITY(fairness.Between(-1, 1))),
         r"^measure: compares group -1, expected groups 0 to 1"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_a_sentence(make, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


def test_as_many_sources_as_poison_rows_are_enough() -> None:
    model: Any = Fixed(MODEL).model
    assert np.isfinite(goals.Colliding(ROWS + 1).score(model, POISONED))


def test_a_target_collides_as_it_is_shown() -> None:
    reach = WithTrigger(Perturb([0], Box(0.0, 9.0)), Added(np.array([1.0, 2.0])))
    world = reach.world(ROWS[:1], DATA)
    goal = goals.Collide(ROWS[:1], goals.Frogs())
    score = goal.score(MODEL, world)
    expected = np.sum(
        np.square(MODEL.features(ROWS[:1]) - MODEL.features(ROWS[:1] + jnp.array([[1.0, 2.0]])))
    )
    np.testing.assert_allclose(score, -expected)


def test_the_key_of_a_stationarity_is_that_of_the_decisions() -> None:
    model: Any = Seen(jnp.ones(2))
    goal = goals.Cancelling(LOSS)
    one, two, again = (goal.score(model, POISONED, key=jax.random.key(k)) for k in (0, 1, 0))
    assert float(one) == float(again) != float(two)
