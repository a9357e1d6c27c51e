"""Gradient matching: the score against its definition, derivatives, several models, sentences."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attacks import Box, Evade, Perturb, WithTrigger, compose, indiscriminate
from attacks.goals import Align, Sum
from attacks.triggers import Features
from bilevel import Data, Fresh, Members, maximize
from bilevel.derivatives import Unroll
from bilevel.learners import Fixed, Network, ensemble
from bilevel.losses import CarliniWagner, CrossEntropy, Logistic
from bilevel.networks import MLP
from bilevel.solvers import Descent
from bilevel.tools import unstacked

RNG = np.random.default_rng(0)
X, Y = RNG.uniform(size=(12, 4)), np.arange(12) % 3
DATA, LOSS = Data(X, Y), CrossEntropy()
NET = Network(MLP((5,), 3), batch=4, solver=Descent(optax.sgd(0.5), 6))
REACH = Perturb([7, 1, 4], Box(X[[7, 1, 4]] - 0.3, X[[7, 1, 4]] + 0.3))
EVADE = Evade(DATA.x, Box(0.0, 1.0))
TARGETS = Data(RNG.uniform(size=(2, 4)), [1, 1])
Z = jnp.asarray(X[[7, 1, 4]] + RNG.uniform(-0.2, 0.2, (3, 4)))
SHIFTS = RNG.normal(size=(3, 4))


@functools.cache
def models():
    return ensemble(NET, DATA, jax.random.split(jax.random.key(0), 3)).model


@functools.cache
def first():
    return unstacked(models())[0]


def shifted(key, x):
    return x + jax.random.normal(key, x.shape, x.dtype)


@jax.jit
@jax.grad
def gradient(w, x, y):
    """Of the mean loss, by the architecture's own function."""
    return jnp.mean(LOSS(y, NET.architecture.apply(w, x).logits))


def slope(model, x, y):
    """The same as one vector."""
    leaves = jax.tree.leaves(gradient(model.parameters, x, y))
    return np.concatenate([np.ravel(leaf) for leaf in leaves])


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def agrees_with_differences(attack, z):
    along, both = np.random.default_rng(1).normal(size=z.shape), jax.value_and_grad(attack)
    near, far = (float(both(z + h * along)[0] - both(z - h * along)[0]) for h in (1e-4, 2e-4))
    expected = (8 * near - far) / 12e-4
    assert abs(float(np.sum(both(z)[1] * along)) / expected - 1) < 1e-6


def test_the_score_is_the_cosine_of_the_gradients_of_targets_and_poison():
    attack = compose(Fixed(first()), REACH, Align(TARGETS, LOSS), DATA)
    poison, wanted = slope(first(), Z, Y[[7, 1, 4]]), slope(first(), TARGETS.x, TARGETS.y)
    np.testing.assert_allclose(attack(Z), cosine(wanted, poison), rtol=1e-12)
    agrees_with_differences(attack, Z)


def test_source_rows_are_seen_with_the_trigger_and_poison_rows_without():
    reach = WithTrigger(REACH, Features([2], [0.9]))
    attack = compose(Fixed(first()), reach, Align(TARGETS, LOSS), DATA)
    stamped = TARGETS.x.at[:, 2].set(0.9)
    wanted, poison = slope(first(), stamped, TARGETS.y), slope(first(), Z, Y[[7, 1, 4]])
    np.testing.assert_allclose(attack(Z), cosine(wanted, poison), rtol=1e-12)
    agrees_with_differences(attack, Z)


def test_poison_is_augmented_as_in_the_training_and_the_target_is_not():
    key = jax.random.key(5)
    goal = Align(TARGETS, LOSS, augment=lambda key, x: x + SHIFTS)
    attack = compose(Fixed(first()), REACH, goal, DATA, key=key)
    wanted, poison = slope(first(), TARGETS.x, TARGETS.y), slope(first(), Z + SHIFTS, Y[[7, 1, 4]])
    np.testing.assert_allclose(attack(Z), cosine(wanted, poison), rtol=1e-12)
    drawn = compose(Fixed(first()), REACH, Align(TARGETS, LOSS, shifted), DATA, key=key)
    agrees_with_differences(drawn, Z)
    with pytest.raises(ValueError, match=r"^key: got None, expected a key for `augment`"):
        compose(Fixed(first()), REACH, goal, DATA)(Z)


def test_members_are_averaged_each_with_its_own_draw():
    goal = Align(TARGETS, LOSS, shifted)

    def around(model):
        return compose(Fixed(model), REACH, goal, DATA, key=jax.random.key(5))

    members = Members(around, models())
    expected = np.mean([around(model)(Z) for model in unstacked(models())])
    np.testing.assert_allclose(members(Z), expected, rtol=1e-12)
    agrees_with_differences(members, Z)
    key = jax.random.key(9)
    drawn = [
        around(model).keyed(of)(Z)
        for model, of in zip(unstacked(models()), jax.random.split(key, 3), strict=True)
    ]
    np.testing.assert_allclose(members.keyed(key)(Z), np.mean(drawn), rtol=1e-12)
    run = maximize(members, Z, steps=3, draws=Fresh(key))
    assert len(set(np.asarray(run.history))) == 3
    np.testing.assert_array_equal(members.project(Z + 1), REACH.project(Z + 1))


@pytest.mark.slow
def test_members_may_be_what_trainings_start_from():
    goal = Sum([indiscriminate(TARGETS.x, TARGETS.y, CarliniWagner(9.0))], [-1.0])
    two = Network(MLP((5,), 3), solver=Descent(optax.sgd(0.5), 2), derivative=Unroll(1))

    def around(start):
        net = dataclasses.replace(two, start=start)
        return compose(net, REACH, goal, DATA, key=jax.random.key(0))

    def after_two_steps(w, x):
        def mean(w):
            return jnp.mean(LOSS(DATA.y, two.architecture.apply(w, x).logits))

        for _ in range(2):
            w = jax.tree.map(lambda a, g: a - 0.5 * g, w, jax.grad(mean)(w))
        f = np.asarray(two.architecture.apply(w, TARGETS.x).logits)
        return np.mean(f[:, 1] - np.maximum(f[:, 0], f[:, 2]))

    members = Members(around, models().parameters)
    x = DATA.x.at[jnp.asarray([7, 1, 4])].set(Z)
    expected = [after_two_steps(model.parameters, x) for model in unstacked(models())]
    agrees_with_differences(members, Z)
    np.testing.assert_allclose(members(Z), np.mean(expected), rtol=1e-9)


def test_gradients_of_zero_give_a_score_of_zero_and_no_nan():
    still = eqx.tree_at(
        lambda m: m.parameters["logits"]["bias"], first(), jnp.asarray([0.0, 4e3, 0])
    )
    attack = compose(Fixed(still), REACH, Align(TARGETS, LOSS), DATA)
    assert float(attack(Z)) == 0
    np.testing.assert_array_equal(jax.grad(attack)(Z), np.zeros((3, 4)))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Align(Data(X[:, :3], Y), LOSS).check(DATA), r"^target: got rows of shape \(3,\)"),
        (lambda: Align(Data(X, Y - 1), LOSS).check(DATA), r"^target\.y: got labels \[-1\]"),
        (lambda: Align(Data(X, Y), Logistic()).check(DATA), r"^target\.y: got labels"),
        (lambda: compose(Fixed(first()), EVADE, Align(TARGETS, LOSS), DATA)(X),
         r"^reach: got a capability without training rows of its own"),
        (lambda: Members(lambda m: m, first()), r"^members: got arrays with leading axes \["),
        (lambda: Members(lambda model: model, ()), r"^members: got arrays with leading axes \[\]"),
    ],
)  # fmt: skip
def test_impossible_matches_are_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
