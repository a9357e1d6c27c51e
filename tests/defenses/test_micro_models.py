"""Micro-models against scikit-learn models of the same parts."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Ridge as Peer

from attacks import Box, Insert, World, compose, indiscriminate
from bilevel import Data
from bilevel.learners import Logistic, Ridge
from bilevel.results import CONVERGED
from defenses import MicroModels, SoftMicroModels, Trim
from defenses._hash import row_hash
from defenses.ensemble._parts import room

N, D, MODELS = 60, 2, 5
RNG = np.random.default_rng(0)
TRUE = np.where(np.arange(N) % 2, 1.0, -1.0)
X = RNG.normal(size=(N, D)) + 2.0 * TRUE[:, None]
FLIPPED = RNG.permutation(N)[:6]
Y = TRUE.copy()
Y[FLIPPED] *= -1
WEIGHT = RNG.uniform(0.5, 2, N)
DATA = Data(X, Y, WEIGHT)
MICRO = MicroModels(Ridge(0.1), MODELS)


@eqx.filter_jit
def inspect(defense, data):
    return defense.inspect(data)


def test_every_row_is_judged_by_the_models_that_did_not_see_it():
    part = np.asarray(row_hash(DATA.x)) % MODELS
    votes = []
    for j in range(MODELS):
        own, weight = part == j, WEIGHT[part == j]
        peer = Peer(alpha=0.1 * weight.sum()).fit(X[own], Y[own], sample_weight=weight)
        votes.append(np.where(own, np.nan, np.sign(peer.predict(X)) != Y))
    expected = np.nanmean(votes, axis=0)
    assert len(np.unique(expected)) > 2
    seen = inspect(MICRO, DATA)
    np.testing.assert_allclose(seen.score, expected, rtol=1e-12)
    np.testing.assert_array_equal(seen.kept, expected <= 0.5)
    assert int(seen.trainings) == MODELS


def test_scattered_flips_are_found():
    kept = np.asarray(inspect(MICRO, DATA).kept)
    assert not kept[FLIPPED].any()
    assert np.mean(kept[np.setdiff1d(np.arange(N), FLIPPED)]) > 0.9
    strict = np.asarray(inspect(MicroModels(Ridge(0.1), MODELS, dispute=0.0), DATA).kept)
    assert np.all(kept[strict])
    assert strict.sum() < kept.sum()


def test_a_model_that_cannot_be_trained_is_a_failure_of_the_whole():
    """Under `jit` an empty part is not refused."""
    part = np.asarray(row_hash(DATA.x)) % MODELS
    seen = inspect(MICRO, Data(X, Y, np.where(part == 2, 0, WEIGHT)))
    assert int(seen.result) != CONVERGED
    assert int(inspect(MICRO, DATA).result) == CONVERGED


def test_derivatives_are_those_of_the_rows_kept():
    kept = np.asarray(inspect(MICRO, DATA).kept)

    def loss(learner, y, weight):
        model = learner.fit(Data(DATA.x, y, weight), throw=False).model
        return jnp.mean(jnp.tanh(model.decision(DATA.x)))

    both = eqx.filter_jit(lambda learner, y, w: jax.value_and_grad(
        lambda y, w: loss(learner, y, w), argnums=(0, 1))(y, w))  # fmt: skip
    ours = both(MICRO, DATA.y, DATA.weight)[1]
    plain = both(Ridge(0.1), DATA.y, jnp.where(kept, DATA.weight, 0))[1]
    assert np.max(np.abs(ours[1])) > 1e-4
    np.testing.assert_allclose(ours[0], plain[0], rtol=1e-10, atol=1e-16)
    np.testing.assert_allclose(ours[1], np.where(kept, plain[1], 0), rtol=1e-9, atol=1e-16)

    along = np.where(kept, np.sin(np.arange(N)), 0)
    low, high = (float(both(MICRO, DATA.y, DATA.weight + t * along)[0]) for t in (-1e-5, 1e-5))
    np.testing.assert_allclose(ours[1] @ along, (high - low) / 2e-5, rtol=1e-7)


def test_the_surrogate_is_differentiable_in_all_rows_and_near():
    soft = SoftMicroModels(Ridge(0.1), MODELS).prepare(DATA)
    kept = np.asarray(inspect(MICRO, DATA).kept)
    share = np.asarray(inspect(soft, DATA).data.weight) / WEIGHT
    assert np.mean((share > 0.5) == kept) > 0.9

    @jax.jit
    @jax.value_and_grad
    def loss(x):
        model = soft.fit(Data(x, DATA.y, DATA.weight), throw=False).model
        return jnp.mean(jnp.tanh(model.decision(DATA.x)))

    gradient = loss(DATA.x)[1]
    assert np.all(np.any(np.asarray(gradient) != 0, axis=1))
    along, h = np.sin(np.arange(2.0 * N)).reshape(N, D) / N, 1e-2
    near, far = (loss(X + k * h * along)[0] - loss(X - k * h * along)[0] for k in (1, 2))
    expected = (8 * near - far) / (12 * h)
    assert abs(expected) > 1e-5
    np.testing.assert_allclose(jnp.sum(gradient * along), expected, rtol=1e-8)


@pytest.mark.parametrize(
    "learner", [Ridge(0.1), pytest.param(Trim(Ridge(0.1), 0.05), marks=pytest.mark.slow)]
)
def test_an_adaptive_attack_is_one_on_another_learner(learner):
    reach, goal = Insert(np.array([1.0]), Box(-3.0, 3.0)), indiscriminate(X[:9], TRUE[:9])
    defense, z = MicroModels(learner, MODELS), -jnp.ones((1, D))
    attack = compose(defense, reach, goal, DATA)
    train = reach.inject(z, DATA)
    score = goal.score(defense.fit(train, throw=False).model, World(train))
    np.testing.assert_allclose(jax.jit(attack.evaluate)(z)[0], score, rtol=1e-9)


def test_a_part_has_room_for_what_chance_puts_there():
    for rows, parts in ((30, 10), (1000, 10), (1000, 50)):
        most = RNG.multinomial(rows, np.ones(parts) / parts, size=2000).max(axis=1)
        assert np.mean(most > room(rows, parts)) < 5e-3
        assert room(rows, parts) < 4 * rows / parts + 8


def test_sentences():
    one_class = Data(X[:12], np.where(np.arange(12), 1.0, -1.0))
    for make, sentence in (
        (lambda: MicroModels(Ridge(), 1), r"^models: got 1, expected a whole number, at least 2"),
        (lambda: MicroModels(Ridge(), 5, dispute=1.0), r"^dispute: got 1.0, expected a share"),
        (lambda: MICRO.check(Data(X, 3 * Y)), r"^y: got labels"),
        (
            lambda: MicroModels(Logistic(), 4).check(one_class),
            r"^models: got 4 for 12 rows, but on the \d of number \d no model can be trained \(y: "
            r"every row .*; ask for fewer, or try another seed$",
        ),
    ):
        with pytest.raises(ValueError, match=sentence):
            make()
