"""Poisoning networks: along the path, over initialisations, row by row, and without training."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import attacks
import bilevel
import defenses
from attacks.goals.cancelling import gradient
from bilevel import Data, losses
from bilevel.learners import Logistic, Network, NetworkModel, Ridge
from bilevel.linear import Damped, Dense
from bilevel.networks import MLP
from bilevel.solvers import Descent

RNG = np.random.default_rng(0)
X = RNG.uniform(size=(60, 3))
Y = np.where(X[:, 0] + X[:, 1] > 1, 1, -1)
TRAIN, VALIDATION = Data(X[:30], Y[:30]), Data(X[30:], Y[30:])
NET = Network(
    MLP((4,), 1), losses.Logistic(), l2=1e-3, solver=Descent(optax.sgd(0.5, momentum=0.9), 40)
)
KEYS = jax.random.split(jax.random.key(0), 3)
START, LABELS = jnp.asarray(X[34:37]), jnp.asarray(-Y[34:37])  # of both classes


@eqx.filter_jit
def mean_loss(model):
    return jnp.mean(losses.Logistic()(VALIDATION.y, model.decision(VALIDATION.x)))


def pose(data, start, labels, keys=KEYS[0], steps=8):
    return attacks.poison_network(data, start, labels, VALIDATION, NET, keys, steps=steps)


def test_the_poison_is_valid_and_raises_the_loss_of_the_same_initialisation():
    made = pose(TRAIN, START, LABELS)
    result = made.climb()
    assert np.all((np.asarray(result.z) >= 0) & (np.asarray(result.z) <= 1))
    assert result.value > made.attack(START) + 0.01
    poisoned = bilevel.append(TRAIN, result.z, LABELS)
    model = NET.fit(poisoned, key=attacks.training_key(KEYS[0])).model
    np.testing.assert_allclose(result.value, mean_loss(model), rtol=1e-9)


def test_a_goal_of_the_attacker_s_takes_the_place_of_the_loss_on_validation_rows():
    goal = attacks.indiscriminate(X[:5], -Y[:5], losses.Logistic())
    made = attacks.poison_network(TRAIN, START, LABELS, VALIDATION, NET, KEYS[0], goal=goal)
    assert getattr(made.attack, "goal") is goal  # noqa: B009
    made = attacks.poison_network(TRAIN, START, LABELS, VALIDATION, NET, KEYS[0])
    usual = getattr(made.attack, "goal")  # noqa: B009
    np.testing.assert_array_equal(usual.x, VALIDATION.x)
    np.testing.assert_array_equal(usual.y, VALIDATION.y)


def test_over_several_initialisations_the_value_is_their_mean():
    made = pose(TRAIN, START, LABELS, KEYS)
    alone = [pose(TRAIN, START, LABELS, key).attack(START) for key in KEYS]
    np.testing.assert_allclose(made.attack(START), np.mean(alone), rtol=1e-9)


def test_rows_added_one_by_one_compile_once_and_go_on_from_where_they_stopped():
    seen = []
    whole = attacks.one_by_one(TRAIN, START, LABELS, pose, after=seen.append)
    assert [len(done.y) for done in seen] == [1, 2, 3]
    again = attacks.one_by_one(TRAIN, START, LABELS, pose, done=seen[0])
    np.testing.assert_array_equal(whole.x, again.x)
    np.testing.assert_array_equal(whole.values, again.values)
    with pytest.raises(ValueError, match="done: got rows with labels"):
        attacks.one_by_one(TRAIN, START, -LABELS, pose, done=seen[0])
    with pytest.raises(ValueError, match="done: got 1 rows that did not start at the first 1"):
        attacks.one_by_one(TRAIN, START[::-1], LABELS, pose, done=seen[0])
    # the value after a row is that of all rows so far, retrained
    data = bilevel.append(TRAIN, whole.x[:1], whole.y[:1])
    data = bilevel.append(data, START[1:], LABELS[1:], jnp.zeros(2))
    second = pose(data, START[1:2], LABELS[1:2]).attack(whole.x[1:2])
    np.testing.assert_allclose(whole.values[1], second, rtol=1e-9)


def test_the_gradient_of_training_is_zero_at_a_minimiser_and_that_of_differences_elsewhere():
    learner = Logistic(0.1)
    slope_of = eqx.filter_jit(lambda model, data: gradient(model, data, learner.loss))
    model = learner.fit(TRAIN).model
    slope = slope_of(model, TRAIN)
    np.testing.assert_allclose(slope.w, -0.1 * np.asarray(model.w), atol=1e-9)
    weighed = Data(TRAIN.x, TRAIN.y, np.linspace(0, 2, 30))
    other = learner.fit(weighed).model
    slope = slope_of(other, weighed)
    np.testing.assert_allclose(slope.w, -0.1 * np.asarray(other.w), atol=1e-9)
    goal = attacks.goals.Cancelling(learner.loss)
    attack = attacks.compose(
        bilevel.learners.Fixed(model, learner.loss),
        attacks.Insert(LABELS, attacks.Box(0.0, 1.0)),
        goal,
        TRAIN,
    )

    def by_hand(z):
        x, y = np.vstack([X[:30], z]), np.append(Y[:30], LABELS)
        f = x @ np.asarray(model.w) + float(model.bias)
        share = -y / (1 + np.exp(y * f)) / len(y)
        return -0.5 * (np.sum((x.T @ share) ** 2) + np.sum(share) ** 2)

    np.testing.assert_allclose(attack(START), by_hand(np.asarray(START)), rtol=1e-10)


def test_a_corrupted_model_is_as_near_as_asked_and_much_worse():
    clean = NET.fit(TRAIN, key=KEYS[0]).model
    bad = attacks.corrupted(clean, VALIDATION, NET.loss, 0.5)
    was, is_now = (
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(model.parameters)])
        for model in (clean, bad)
    )
    size = np.linalg.norm(is_now - was) / np.linalg.norm(was)
    assert size <= 0.5 * (1 + 1e-9)
    assert float(mean_loss(bad)) > 2 * float(mean_loss(clean))
    # rows count by weight
    weight = np.where(np.arange(30) < 3, 1.0, 0.0)
    few = attacks.corrupted(clean, Data(VALIDATION.x, VALIDATION.y, weight), NET.loss, 0.5)
    same = attacks.corrupted(clean, Data(VALIDATION.x[:3], VALIDATION.y[:3]), NET.loss, 0.5)
    for a, b in zip(*(jax.tree.leaves(m.parameters) for m in (few, same)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_where_all_gradients_cancel_a_convex_learner_ends_at_the_chosen_model():
    learner, labels = Ridge(0.1), jnp.asarray(-Y[:15])
    start = jnp.asarray(X[:15])
    planted = jnp.asarray(RNG.uniform(size=(15, 3)))
    chosen = learner.fit(bilevel.append(TRAIN, planted, labels)).model  # so that it can be reached
    made = attacks.cancel_gradients(
        TRAIN,
        start,
        labels,
        chosen,
        learner.loss,
        l2=jax.tree.unflatten(  # the learner's penalty leaves the bias out
            jax.tree.structure(chosen), [jnp.asarray(0.1), jnp.asarray(0.0)]
        ),
        steps=200,
        ascent=bilevel.Ascent(first=0.1, last=1e-7),
    )
    assert -made.attack(planted) < 1e-20
    result = made.climb()
    assert -result.value < 1e-7 < -made.attack(start)
    model = learner.fit(bilevel.append(TRAIN, result.z, labels)).model
    np.testing.assert_allclose(model.w, chosen.w, atol=5e-3)
    np.testing.assert_allclose(model.bias, chosen.bias, atol=5e-3)


def test_labels_of_a_network_are_flipped_along_its_hypergradient():
    flips = attacks.flip_by_hypergradient(TRAIN, 2, VALIDATION, NET, key=KEYS[0], verify=3)
    assert flips.result == bilevel.results.CONVERGED
    y = Y[:30].copy()
    y[np.asarray(flips.rows)] *= -1
    model = NET.fit(Data(X[:30], y), key=attacks.training_key(KEYS[0])).model
    np.testing.assert_allclose(flips.values[-1], mean_loss(model), rtol=1e-9)


@pytest.mark.slow
def test_an_attack_through_trim_around_a_network_has_the_gradient_of_differences():
    reach = attacks.Insert([1, -1], attacks.Box(0.0, 1.0))
    goal = attacks.indiscriminate(VALIDATION.x, VALIDATION.y, losses.Logistic())
    attack = attacks.compose(defenses.Trim(NET, 0.1), reach, goal, TRAIN, key=KEYS[0])
    along = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3)))
    slope = jnp.sum(jax.grad(attack)(START[:2]) * along)
    ahead, back = (attack(START[:2] + h * along) for h in (1e-6, -1e-6))
    np.testing.assert_allclose(slope, (ahead - back) / 2e-6, rtol=1e-6)


def joint(solver=Descent(optax.sgd(0.3), 2), key=KEYS[0], learner=NET):
    """An attack whose network goes on from weights of its own."""
    row = jax.ShapeDtypeStruct((3,), jnp.float64)
    begin = dataclasses.replace(learner, start=NET.architecture.init(KEYS[1], row), solver=solver)
    goal = attacks.indiscriminate(VALIDATION.x, VALIDATION.y, losses.Logistic())
    return attacks.compose(
        begin, attacks.Insert(LABELS, attacks.Box(0.0, 1.0)), goal, TRAIN, key=key
    )


def test_a_joint_step_is_along_the_total_derivative_at_the_weights_of_the_moment():
    attack, shift = joint(), 0.3
    result = attacks.descend_ascend(
        attack, START, steps=1, ascent=bilevel.Ascent(first=0.01), linear=Damped(Dense(), shift)
    )
    assert isinstance(attack.learner, Network)
    flat, unravel = ravel_pytree(attack.learner.start)

    def inner(w, z):
        data = bilevel.append(TRAIN, z, LABELS)
        f = NET.architecture.apply(unravel(w), data.x).logits
        return jnp.mean(NET.loss(data.y, f)) + 0.5e-3 * w @ w

    def outer(w):
        f = NET.architecture.apply(unravel(w), jnp.asarray(VALIDATION.x)).logits
        return jnp.mean(NET.loss(jnp.asarray(VALIDATION.y), f))

    gradient, w = jax.jit(jax.grad(inner)), flat
    for _ in range(2):
        w = w - 0.3 * gradient(w, START)

    @jax.jit
    def by_hand(w):
        damped = jax.hessian(inner)(w, START) + shift * jnp.eye(len(w))
        adjoint = jnp.linalg.solve(damped, jax.grad(outer)(w))
        return outer(w), -jax.vjp(lambda z: jax.grad(inner)(w, z), START)[1](adjoint)[0]

    value, total = by_hand(w)
    stepped = jax.jit(lambda total: attack.project(START + 0.01 * attack.direction(total)))
    wanted = stepped(total)
    np.testing.assert_allclose(result.z, wanted, rtol=1e-9)
    np.testing.assert_allclose(result.values, [value], rtol=1e-9)
    assert isinstance(result.model, NetworkModel)
    np.testing.assert_allclose(ravel_pytree(result.model.parameters)[0], w, rtol=1e-9)


def test_poison_that_moves_with_the_network_raises_its_loss_and_stays_valid():
    result = attacks.descend_ascend(joint(), START, steps=30)
    still = attacks.descend_ascend(joint(), START, steps=30, ascent=bilevel.Ascent(first=1e-12))
    assert result.values[-1] > still.values[-1] + 0.01
    # the network goes on from its weights: thirty times two steps on rows that stay are sixty
    sixty = joint(Descent(optax.sgd(0.3), 60)).learner
    model = sixty.fit(bilevel.append(TRAIN, START, LABELS), key=KEYS[0]).model
    assert isinstance(still.model, NetworkModel)
    here, there = (ravel_pytree(of.parameters)[0] for of in (still.model, model))
    np.testing.assert_allclose(here, there, rtol=1e-6)
    assert np.all((np.asarray(result.z) >= 0) & (np.asarray(result.z) <= 1))
    convex = attacks.compose(Logistic(0.1), joint().reach, joint().goal, TRAIN)
    with pytest.raises(ValueError, match="attack: got one on a Logistic"):
        attacks.descend_ascend(convex, START)
    with pytest.raises(ValueError, match="attack: got a network that draws"):
        attacks.descend_ascend(joint(learner=dataclasses.replace(NET, batch=4)), START)
    with pytest.raises(ValueError, match="z0: lies outside the domain"):
        attacks.descend_ascend(joint(), START + 5)
    with pytest.raises(ValueError, match="attack: got no key"):
        attacks.descend_ascend(dataclasses.replace(joint(), key=None), START)
