"""Label flips: each choice against brute force, the hypergradient against finite differences."""

import sys
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attacks import FlipLabels, World, compose
from attacks.goals import indiscriminate
from attacks.recipes.label_flips import (
    LabelFlips,
    flip_by_hypergradient,
    flip_greedy,
    flip_random,
)
from bilevel import Data
from bilevel.learners import SVM, AbstractLearner, Logistic, Ridge
from bilevel.learners._linear_fit import LinearNewton
from bilevel.losses import Logistic as LogisticLoss
from bilevel.results import CONVERGED, MAX_STEPS

N, D, BUDGET = 16, 3, 3
RNG = np.random.default_rng(0)
Y = np.where(np.arange(N) % 2, 1.0, -1.0)
X = RNG.normal(size=(N, D)) + 0.8 * Y[:, None]
TRAIN = Data(X, Y, RNG.uniform(0.5, 2, N))
SIDES = np.where(np.arange(40) % 2, 1.0, -1.0)
HELD_OUT = Data(RNG.normal(size=(40, D)) + 0.8 * SIDES[:, None], SIDES)
LEARNERS: dict[str, AbstractLearner] = {
    "ridge": Ridge(0.1), "logistic": Logistic(0.1), "svm": SVM(0.5)
}  # fmt: skip
label_flips = sys.modules[flip_greedy.__module__]
GOAL = indiscriminate(HELD_OUT.x, HELD_OUT.y, LogisticLoss())


@eqx.filter_jit
def trained(learner: AbstractLearner, data: Data):
    return GOAL.score(learner.fit(data).model, World(data))


def retrained(learner: AbstractLearner, labels) -> float:
    return float(trained(learner, Data(X, labels, TRAIN.weight)))


def check_values(flips: LabelFlips, learner: AbstractLearner) -> None:
    """Different rows, and the goal of the learner trained on their flipped labels."""
    rows = np.asarray(flips.rows)
    assert len(set(rows.tolist())) == BUDGET
    assert int(flips.result) == 0
    assert flips.message == "converged"
    for many in (1, BUDGET):
        labels = Y.copy()
        labels[rows[:many]] *= -1
        np.testing.assert_array_equal(flips.flip(TRAIN, many).y, labels)
        np.testing.assert_allclose(flips.values[many - 1], retrained(learner, labels), rtol=1e-8)
    np.testing.assert_array_equal(flips.flip(TRAIN).y, labels)


@pytest.fixture(scope="module")
def greedy() -> dict[str, LabelFlips]:
    return {name: flip_greedy(TRAIN, BUDGET, HELD_OUT, LEARNERS[name]) for name in LEARNERS}


@pytest.mark.parametrize("name", LEARNERS)
def test_greedy_takes_the_best_flip_of_all(name, greedy):
    flips, learner = greedy[name], LEARNERS[name]
    check_values(flips, learner)
    np.testing.assert_array_equal(flips.trainings, N * np.arange(1, BUDGET + 1))
    tried = []
    for i in range(N):
        labels = Y.copy()
        labels[i] *= -1
        tried.append(retrained(learner, labels))
    assert int(flips.rows[0]) == int(np.argmax(tried))
    assert flips.values.tolist() == sorted(flips.values.tolist())


@pytest.mark.parametrize("name", LEARNERS)
def test_few_verified_flips_are_as_good(name, greedy):
    learner = LEARNERS[name]
    smooth = Logistic(1 / (0.5 * N)) if name == "svm" else None
    flips = flip_by_hypergradient(TRAIN, BUDGET, HELD_OUT, learner, ranking=smooth)
    check_values(flips, learner)
    np.testing.assert_array_equal(flips.trainings, 6 * np.arange(1, BUDGET + 1))
    assert float(flips.values[-1]) >= 0.97 * float(greedy[name].values[-1])


class Slopes(NamedTuple):
    """Stands in for the attack that ranks flips: its derivative is `slopes` until one of the last
    two is flipped, which takes five from that of the other.
    """

    slopes: Any
    reach: FlipLabels
    data: Data = TRAIN

    def cold(self, z):
        return z - 1

    def evaluate(self, z, warm):
        value = self.slopes @ z - 5 * z[-2] * z[-1]
        return value, (warm + 1, Seen(jnp.int32(MAX_STEPS)))


class Seen(NamedTuple):
    result: Any


@pytest.mark.stand_ins
def test_flips_are_tried_in_the_order_of_what_they_add_not_of_their_size(monkeypatch):
    """Those that are made come last, after those whose slope is no number."""
    monkeypatch.setattr(label_flips, "_rounds", lambda *given: given)
    slopes = jnp.array([-9.0, 1, jnp.nan, -1, 3, 2])
    ranked: Any = Slopes(slopes, FlipLabels(np.array([3, 1, 4, 9, 5, 11]), 2))
    attack, propose, start, trainings = label_flips._by_hypergradient.__wrapped__("a", ranked, 6)
    assert (attack, trainings) == ("a", 7)
    np.testing.assert_array_equal(start, -np.ones(6))
    for made, order in (([], [4, 5, 1, 3, 0, 2]), ([4, 3], [1, 5, 0, 2, 3, 4])):
        found, warm, code = propose(jnp.zeros(6).at[jnp.asarray(made, int)].set(1), start)
        np.testing.assert_array_equal(found, order)
        np.testing.assert_array_equal(warm, start + 1)
        assert int(code) == MAX_STEPS
    best, *_ = label_flips._by_hypergradient.__wrapped__("a", ranked, 2)[1](jnp.zeros(6), start)
    np.testing.assert_array_equal(best, [4, 5])


@pytest.mark.stand_ins
def test_greedy_tries_all_that_may_be_flipped_by_their_places(monkeypatch):
    monkeypatch.setattr(label_flips, "_rounds", lambda *given: given)
    every: Any = Slopes(None, FlipLabels(np.array([9, 2, 4]), 2))
    attack, propose, state, trainings = label_flips._greedy.__wrapped__(every)
    assert attack is every
    assert trainings == 3
    found, after, code = propose(jnp.ones(3), state)
    np.testing.assert_array_equal(found, [0, 1, 2])
    assert (int(after), int(code)) == (int(state), CONVERGED)


def test_all_flips_verified_is_greedy(greedy):
    flips = flip_by_hypergradient(TRAIN, BUDGET, HELD_OUT, LEARNERS["ridge"], verify=N + 5)
    np.testing.assert_array_equal(flips.rows, greedy["ridge"].rows)
    assert int(flips.trainings[0]) == N + 1


def test_random_flips_are_rows_of_their_own():
    learner = LEARNERS["ridge"]
    a, b = (flip_random(jax.random.key(k), TRAIN, BUDGET, HELD_OUT, learner) for k in (0, 1))
    check_values(a, learner)
    assert a.rows.tolist() != b.rows.tolist()
    np.testing.assert_array_equal(a.trainings, 0)


@pytest.mark.parametrize("verify", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_only_the_rows_given_are_flipped_even_if_all_are(verify):
    rows = np.array([9, 2, 4])
    flips = flip_by_hypergradient(TRAIN, 3, HELD_OUT, LEARNERS["ridge"], rows=rows, verify=verify)
    assert set(flips.rows.tolist()) == {9, 2, 4}
    flips = flip_random(jax.random.key(0), TRAIN, 3, HELD_OUT, LEARNERS["ridge"], rows=rows)
    assert set(flips.rows.tolist()) == {9, 2, 4}


@pytest.mark.parametrize("name", LEARNERS)
def test_the_slopes_are_those_of_finite_differences(name):
    """One-sided: of a flip only begun, or of one not quite made. Also for an SVM, for which a copy
    of weight zero is on no side of its constraint.
    """
    reach = FlipLabels(np.arange(N), BUDGET)
    attack = compose(LEARNERS[name], reach, GOAL, TRAIN)
    z = jnp.zeros(N).at[jnp.asarray([1, 6])].set(1)
    slopes = jax.grad(attack)(z)
    value = jax.jit(lambda z: attack.solve(attack.posed(World(reach.mix(z, TRAIN))))[0])
    for i in (0, 1, 5, 8, 11, 15):
        h = 1e-5 * (1 - 2 * float(z[i]))
        v = [float(value(z + k * h * np.eye(N)[i])) for k in (0, 1, 2)]
        difference = (-3 * v[0] + 4 * v[1] - v[2]) / (2 * h)
        np.testing.assert_allclose(slopes[i], difference, rtol=2e-4, atol=1e-6)


def test_it_maps_over_data_sets(greedy):
    """Under `jit` and `vmap`, where no value is known."""

    def values(x):
        return flip_greedy(Data(x, Y, TRAIN.weight), BUDGET, HELD_OUT, LEARNERS["ridge"]).values

    both = jax.jit(jax.vmap(values))(jnp.stack([TRAIN.x, TRAIN.x[:, ::-1]]))
    np.testing.assert_allclose(both[0], greedy["ridge"].values, rtol=1e-10)


def test_a_training_that_fails_is_told_and_gives_no_number():
    hasty = Logistic(0.001, solver=LinearNewton(max_steps=1))
    flips = flip_by_hypergradient(TRAIN, BUDGET, HELD_OUT, hasty)
    assert int(flips.result) == MAX_STEPS
    assert np.all(np.isnan(flips.values))
    assert len(set(flips.rows.tolist())) == BUDGET
    ranked = flip_by_hypergradient(TRAIN, BUDGET, HELD_OUT, LEARNERS["ridge"], ranking=hasty)
    assert int(ranked.result) == MAX_STEPS
    assert np.all(np.isfinite(ranked.values))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: flip_greedy(TRAIN, 17, HELD_OUT, Ridge()), r"^budget: got 17, .* 1 to 16"),
        (lambda: flip_greedy(TRAIN, 0, HELD_OUT, Ridge()), r"^budget: got 0"),
        (lambda: flip_greedy(Data(X, 3 * Y), 1, HELD_OUT, Ridge()), r"^y: got the label -3"),
        (lambda: flip_greedy(TRAIN, 1, Data(X[:, :2], Y), Ridge()), r"^x_val: got 2 features"),
        (lambda: flip_greedy(TRAIN, 1, HELD_OUT, Ridge(), rows=jnp.asarray([16])),
         r"^rows: got the index 16"),
        (lambda: flip_by_hypergradient(TRAIN, 1, HELD_OUT, Ridge(), verify=0), r"^verify: got 0"),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
