"""Edges of attacks: what a message names, what a start becomes, what is passed on."""

import dataclasses
import sys
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attacks import Box, Columns, Insert, compose, hide_from_pruning
from attacks.domains import L2Ball, LinfBall
from attacks.goals import indiscriminate
from attacks.recipes import corrupted, descend_ascend, poison_network
from bilevel import Data, argmin
from bilevel.learners import LinearModel, Network, NetworkModel, Ridge
from bilevel.networks import MLP
from bilevel.solvers import Descent
from defenses import Filter

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


class Dropping(MLP):
    """Drops inputs in training."""

    def apply(self, parameters, x, key=None):
        kept = 1.0 if key is None else jax.random.bernoulli(key, 0.5, x.shape).astype(x.dtype)
        return super().apply(parameters, x * kept)


DRAWING = {
    "batch": dataclasses.replace(NET, batch=3),
    "augment": dataclasses.replace(NET, augment=lambda key, x: x),
    "activity": dataclasses.replace(NET, activity=lambda key, outputs: jnp.zeros(())),
    "dropout": dataclasses.replace(NET, architecture=Dropping((2,), 2)),
}


@pytest.mark.parametrize("name", DRAWING)
def test_a_network_that_draws_has_no_steps_of_its_own_to_descend(name) -> None:
    learner = DRAWING[name]
    goal = indiscriminate(HELD.x, HELD.y, learner.loss)
    attack = compose(learner, Insert(LABELS, Box(0.0, 1.0)), goal, TRAIN, key=KEY)
    with pytest.raises(ValueError, match=r"^attack: got a network that draws"):
        descend_ascend(attack, START)
    with pytest.raises(ValueError, match=r"^attack: got no key"):
        descend_ascend(dataclasses.replace(attack, key=None), START)


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


@pytest.mark.parametrize("off", [-0.5, 0.5])
def test_a_start_beyond_either_bound_is_refused(off) -> None:
    start = np.full((2, 3), 0.5)
    start[1, 2] += 2 * off
    with pytest.raises(ValueError, match=r"z0: lies outside the domain, by 0\.5 at most"):
        Insert(LABELS, Box(0.0, 1.0)).check_start(start, TRAIN)


def test_kinks_are_those_of_the_goal_and_of_the_training() -> None:
    """Of a smoothed goal none; of a defense the margins of its choice."""
    data = Data(X, np.where(Y == 1, 1.0, -1.0))

    def kinks(learner):
        goal = indiscriminate(HELD.x, np.where(HELD.y == 1, 1.0, -1.0), learner.loss)
        attack = compose(learner, Insert(np.array([1.0, -1.0]), Box(0.0, 1.0)), goal, data)
        attack = attack.prepared()
        world = attack.world(jnp.asarray(START))
        posed = attack.posed(world)
        training = attack._training(world)
        value = jax.eval_shape(lambda: argmin(training.problem, solver=attack.solver).value)
        ones = jax.tree.map(lambda s: jnp.ones(s.shape, s.dtype), value)
        found: Any = posed.outcome(ones)
        return len(found.kinks()), len(attack.goal.kinks(training.trained(ones).model, world))

    plain, of_goal = kinks(Ridge(0.1))
    guarded, of_same_goal = kinks(Filter(Ridge(0.1), contamination=0.2))
    assert plain == of_goal == of_same_goal
    assert guarded > of_goal


def test_padding_of_a_shorter_group_is_no_feature() -> None:
    """The first feature, which pads it, is far larger than its own."""
    domain = Columns([0.0] * 6, [9.0, 1, 1, 1, 1, 1], groups=[(1, 2), (3, 4, 5)])
    z = jnp.asarray([[8.0, 0.1, 0.3, 0.2, 0.6, 0.1], [0.0, 0.9, 0.3, 0.2, 0.6, 0.7]])
    np.testing.assert_array_equal(domain.place(z), [[8, 0, 1, 0, 1, 0], [0, 1, 0, 0, 0, 1]])
    optional = Columns([0.0] * 6, [9.0, 1, 1, 1, 1, 1], 0.0, [(1, 2), (3, 4, 5)], [True, True])
    low = jnp.asarray([[8.0, 0.1, 0.2, 0.2, 0.2, 0.1]])
    np.testing.assert_array_equal(optional.place(low), [[8, 0, 0, 0, 0, 0]])


def test_a_corrupted_model_lies_on_the_ball_once_its_steps_reach_it() -> None:
    """A loss that is linear in the decision: each step has the same direction."""
    model = LinearModel(jnp.asarray([3.0, 0.0]), jnp.asarray(4.0))
    rows = Data(np.array([[1.0, 2.0], [3.0, -1.0]]), np.ones(2), np.array([1.0, 3.0]))
    slope = np.array([2.5, -0.25, 1.0])
    for steps, moved in ((2, 0.2), (30, 1.0)):
        bad = corrupted(model, rows, lambda y, f: y * f, 0.5, steps)
        change = np.append(np.asarray(bad.w - model.w), float(bad.bias - model.bias))
        np.testing.assert_allclose(change, 2.5 * moved * slope / np.linalg.norm(slope), rtol=1e-9)


@pytest.mark.stand_ins
def test_the_least_active_channels_are_the_decoys_whatever_their_order(monkeypatch) -> None:
    """By the rows that count; all others are as they were trained."""
    weight, bias = np.array([[3.0, -1, 2, 4]]), np.zeros(4)
    begun = {"dense0": {"weight": weight, "bias": bias},
             "logits": {"weight": np.ones((4, 2)), "bias": np.zeros(2)}}  # fmt: skip
    begun = jax.tree.map(jnp.asarray, begun)
    model, seen = NetworkModel(begun, MLP((4,), 2, jnp.positive)), []

    def trained(learner, rows, *, key) -> Any:
        seen.append((learner, rows, key))
        new = jax.tree.map(lambda leaf: leaf + 0.5, learner.start)
        return SimpleNamespace(model=NetworkModel(new, learner.architecture))

    monkeypatch.setattr(Network, "fit", trained)
    clean = Data(np.array([[1.0], [-3.0], [99.0]]), np.zeros(3, int), np.array([1.0, 1, 0]))
    for channels, decoys in ((1, [0, 1, 0, 0]), (2, [0, 1, 1, 0]), (3, [1, 1, 1, 0])):
        hidden = hide_from_pruning(NET, model, clean, TRAIN, channels=channels, lower=0.25, key=KEY)
        away = np.array(decoys, bool)
        np.testing.assert_array_equal(hidden.decoys, away)
        learner, rows, key = seen[-1]
        assert rows is TRAIN
        assert key is KEY
        for mask in learner.architecture.masks["dense0"].values():
            np.testing.assert_array_equal(np.ravel(mask), ~away)
        found = hidden.model.parameters
        w, b = np.where(away, weight, weight + 0.5), np.where(away, bias - 0.25, bias + 0.5)
        np.testing.assert_array_equal(found["dense0"]["weight"], w)
        np.testing.assert_array_equal(found["dense0"]["bias"], b)
        np.testing.assert_array_equal(found["logits"]["weight"], 1.5)
        sizes = (np.abs(w[0] + b) + np.abs(-3 * w[0] + b)) / 2
        np.testing.assert_allclose(hidden.activity, sizes)
    with pytest.raises(ValueError, match="channels: got 4, expected fewer than the 4"):
        hide_from_pruning(NET, model, clean, TRAIN, channels=4, lower=0.0, key=KEY)


@pytest.mark.stand_ins
def test_a_cold_start_is_that_of_the_training_with_its_key(monkeypatch) -> None:
    monkeypatch.setattr(Network, "cold", lambda self, rows, *, key: (self, rows, key))
    goal = indiscriminate(HELD.x, HELD.y, NET.loss)
    reach = Insert(LABELS, Box(0.0, 1.0), np.array([0.5, 2.0]))
    attack = compose(NET, reach, goal, TRAIN, key=KEY)
    learner, rows, key = attack.cold(jnp.asarray(START))
    assert isinstance(learner, Network)
    np.testing.assert_array_equal(rows.x, [*X, *START])
    np.testing.assert_array_equal(rows.weight, [*np.ones(6), 0.5, 2])
    own: Any = attack.training_key
    numbers = [jax.random.key_data(k).tolist() for k in (key, own, KEY)]
    assert numbers[0] == numbers[1] != numbers[2]
    other = attack.keyed(jax.random.key(9)).cold(jnp.asarray(START))[2]
    assert jax.random.key_data(other).tolist() not in numbers
    assert compose(NET, reach, goal, TRAIN).cold(jnp.asarray(START))[2] is None
