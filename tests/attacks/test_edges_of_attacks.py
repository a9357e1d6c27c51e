"""Edges of attacks: what a message names, what a start becomes, what is passed on."""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attacks import Box, Insert, compose
from attacks.domains import L2Ball, LinfBall
from attacks.goals import indiscriminate
from attacks.recipes import descend_ascend, poison_network
from bilevel import Data
from bilevel.learners import Network
from bilevel.networks import MLP
from bilevel.solvers import Descent

RNG = np.random.default_rng(2)
X, Y = RNG.uniform(size=(6, 3)), np.arange(6) % 2
TRAIN, HELD = Data(X, Y), Data(X + 0.1, 1 - Y)
NET = Network(MLP((2,), 2), solver=Descent(optax.sgd(0.1), 2))
START, LABELS = RNG.uniform(size=(2, 3)), np.array([0, 1])
KEY = jax.random.key(0)


@pytest.mark.parametrize("ball", [L2Ball, LinfBall])
def test_the_centre_furthest_outside_the_box_is_named(ball) -> None:
    centre = np.full((3, 4), 0.5)
    centre[0, 3], centre[2, 1] = 1.1, -0.5
    with pytest.raises(ValueError, match=r"in row 2 by 0\.5 in feature 1;"):
        ball(centre, 0.1, Box(0.0, 1.0))


@pytest.mark.parametrize("start", [START, np.round(START).astype(int)])
def test_a_start_of_numpy_is_one_of_jax(start, monkeypatch) -> None:
    monkeypatch.setattr(sys.modules[descend_ascend.__module__], "_joint", lambda *given: given)
    goal = indiscriminate(HELD.x, HELD.y, NET.loss)
    attack = compose(NET, Insert(LABELS, Box(0.0, 1.0)), goal, TRAIN, key=KEY)
    given: Any = descend_ascend(attack, start, steps=3)
    begun = given[1]
    assert isinstance(begun, jax.Array)
    assert jnp.issubdtype(begun.dtype, jnp.floating)
    np.testing.assert_array_equal(begun, start)
    with pytest.raises(ValueError, match=r"^steps: got 0"):
        descend_ascend(attack, start, steps=0)


@pytest.mark.parametrize("keys", [KEY, jax.random.split(KEY, 2)], ids=["one", "two"])
def test_inserted_rows_have_the_weights_that_were_given(keys) -> None:
    weight = np.array([0.0, 0.5])
    box = Box(0.0, 0.9)
    made = poison_network(TRAIN, START * 0.9, LABELS, HELD, NET, keys, weight=weight, domain=box)
    attack: Any = getattr(made.attack, "objective", made.attack)
    world = attack.world(made.start)
    np.testing.assert_array_equal(world.train.weight, [*np.ones(6), *weight])
    np.testing.assert_array_equal(world.train.y, [*Y, *LABELS])
    np.testing.assert_array_equal(attack.project(made.start + 9), 0.9 + 0 * START)
