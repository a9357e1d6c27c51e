"""Feature collision with a trigger on the rows shown: pairs, values, derivative, sentences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attacks import Box, Perturb, Stamp, WithTrigger, compose, triggers
from attacks.goals import Colliding
from attacks.goals.colliding import paired
from bilevel import Data
from bilevel.learners import Fixed, Logistic

RNG = np.random.default_rng(0)
X, Y = RNG.uniform(size=(8, 4)), np.where(np.arange(8) % 2, 1, -1)
DATA, SOURCES = Data(X, Y), RNG.uniform(size=(4, 4))
TRIGGER = triggers.Features([1], [0.9])
REACH = WithTrigger(Perturb([5, 1], Box(0.0, 1.0)), TRIGGER)


@functools.cache
def learner():
    """A model whose features are the rows."""
    return Fixed(Logistic(0.1).fit(DATA).model)


def test_pairs_are_taken_greedily_and_each_source_once():
    here, there = jnp.asarray([[0.0], [0.3], [9.0]]), jnp.asarray([[0.1], [5.0], [0.25], [8.0]])
    np.testing.assert_array_equal(paired((here, there)), [0, 2, 3])
    near = jnp.asarray([[0.2], [0.24]]), jnp.asarray([[0.25], [-3.0]])
    np.testing.assert_array_equal(paired(near), [1, 0])


def test_the_score_is_the_distance_to_the_stamped_sources():
    attack = compose(learner(), REACH, Colliding(jnp.asarray(SOURCES)), DATA)
    stamped = SOURCES.copy()
    stamped[:, 1] = 0.9
    z = jnp.asarray(stamped[[2, 0]] + 0.01)
    expected = -4 * 0.01**2 / np.mean(np.sum(stamped**2, axis=1))
    np.testing.assert_allclose(attack(z), expected, rtol=1e-10)
    np.testing.assert_array_equal(attack.world(z).train.x[jnp.asarray([5, 1])], z)
    z = REACH.example(DATA)
    np.testing.assert_array_equal(z, X[[5, 1]])
    along, both = RNG.normal(size=z.shape), jax.value_and_grad(attack)
    slope = (both(z + 1e-5 * along)[0] - both(z - 1e-5 * along)[0]) / 2e-5
    np.testing.assert_allclose(np.sum(both(z)[1] * along), slope, rtol=1e-6)


def test_training_rows_do_not_show_the_trigger_and_rows_shown_do():
    world = compose(learner(), REACH, Colliding(jnp.asarray(SOURCES)), DATA).world(
        jnp.full((2, 4), 0.2)
    )
    np.testing.assert_array_equal(world.shown(jnp.asarray(X))[:, 1], np.full(8, 0.9))
    assert not np.any(np.asarray(world.train.x) == 0.9)
    inner = Stamp(TRIGGER, [0], 1)
    both = WithTrigger(inner, triggers.Features([2], [0.7]))
    assert both.keeps_rows
    shown = both.present(inner.example(DATA), jnp.asarray(X))
    np.testing.assert_array_equal(shown[:, 1:3], np.tile([0.9, 0.7], (8, 1)))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Colliding(jnp.zeros((4, 3))).check(DATA), r"^x: got rows of shape \(3,\)"),
        (lambda: Colliding(jnp.full((4, 4), jnp.nan)).check(DATA), r"^x: 16 of 16 values are NaN"),
        (lambda: compose(learner(), REACH, Colliding(jnp.zeros((1, 4))), DATA)(REACH.example(DATA)),
         r"^x: got 1 source rows for 2 poison rows"),
        (lambda: WithTrigger(REACH.reach, triggers.Features([4], [1.0])).check(DATA),
         r"^columns: got the column 4"),
        (lambda: WithTrigger(Perturb([9], Box(0.0, 1.0)), TRIGGER).check(DATA), r"^rows: got"),
    ],
)  # fmt: skip
def test_impossible_collisions_are_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
