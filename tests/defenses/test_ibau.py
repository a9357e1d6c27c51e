"""I-BAU: its hypergradient against central differences, its ball, and what it unlearns."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from sklearn.datasets import load_iris
from sklearn.preprocessing import scale

from attacks import Box, Stamp, compose, shown, triggers
from bilevel import Data
from bilevel.derivatives import Implicit, Unroll
from bilevel.learners import Fixed, Network, NetworkModel
from bilevel.linear import Neumann
from bilevel.losses import CrossEntropy
from bilevel.networks import MLP
from bilevel.solvers import Descent, Picard
from defenses import Ball, FineTune, ImplicitUnlearning, Tuning

LOSS = CrossEntropy()
IRIS, KINDS = load_iris(return_X_y=True)
X, Y = scale(IRIS), KINDS.astype(np.int32)
CLEAN, OTHER = Data(X[::3], Y[::3]), Data(X[1::3], Y[1::3])
BODY = MLP((5,), 3)
NET = Network(BODY, l2=1e-3, solver=Descent(optax.sgd(0.3, momentum=0.9), 80))
KEY = jax.random.key(0)
SHAPES = jax.eval_shape(BODY.init, KEY, X[0])
UNRAVEL = ravel_pytree(jax.tree.map(lambda s: np.zeros(s.shape), SHAPES))[1]
BALLS = {
    "inside": Ball(np.inf, penalty=0.5, rate=0.4, solver=Picard(600), derivative=Implicit()),
    "on the sphere": Ball(1.5, rate=1.0, solver=Picard(200), derivative=Implicit()),
}


@functools.cache
def trained():
    return NET.fit(CLEAN, key=KEY).model


@functools.cache
def flat():
    """Its weights as one vector."""
    return ravel_pytree(trained().parameters)[0]


@eqx.filter_jit
def risk(w, ball, rows):
    """The loss of rows shifted by what is worst for the clean ones: the outer objective."""
    parameters = UNRAVEL(w)
    shift = ball.worst(BODY, parameters, CLEAN, LOSS)
    return jnp.mean(LOSS(rows.y, BODY.apply(parameters, rows.x + shift[None]).logits)), shift


@eqx.filter_jit
def value_and_slope(w, ball, rows):
    return jax.value_and_grad(lambda w: risk(w, ball, rows)[0])(w)


def slope(w, ball, rows):
    return value_and_slope(w, ball, rows)[1]


def along():
    size = flat().size
    return np.cos(2.0 * np.arange(size)) / size**0.5


def difference(ball, rows, h=1e-3):
    def value(t):
        return float(value_and_slope(flat() + t * along(), ball, rows)[0])

    near, far = (value(t) - value(-t) for t in (h, 2 * h))
    return (8 * near - far) / (12 * h)


def cut(ball, terms, rate=1.0):
    """The same ball with the series of the authors."""
    return eqx.tree_at(
        lambda ball: ball.derivative, ball, Implicit(Neumann(terms, rate=rate)),
        is_leaf=lambda node: isinstance(node, Implicit),
    )  # fmt: skip


@pytest.mark.parametrize("place", BALLS)
def test_the_hypergradient_is_right_and_the_cut_series_is_not(place):
    ball = BALLS[place]
    shift = np.asarray(risk(flat(), ball, OTHER)[1])
    size = np.linalg.norm(shift)
    assert (size < 5) if place == "inside" else abs(size - 1.5) < 1e-12
    expected = difference(ball, OTHER)
    exact = slope(flat(), ball, OTHER)
    np.testing.assert_allclose(exact @ along(), expected, rtol=1e-8)
    errors = [
        float(jnp.linalg.norm(slope(flat(), cut(ball, k), OTHER) - exact) / jnp.linalg.norm(exact))
        for k in (1, 5, 60)
    ]
    assert errors[0] > errors[1] > 1e-4 > 1e-6 > errors[2]


@eqx.filter_jit
def harm(model, shifts):
    """The mean loss of the clean rows with each of the shifts."""
    return jax.vmap(lambda d: jnp.mean(LOSS(CLEAN.y, model.decision(CLEAN.x + d[None]))))(shifts)


def test_no_other_shift_nearby_is_worse():
    ball = BALLS["on the sphere"]
    value, worst = risk(flat(), ball, CLEAN)
    near = np.asarray(worst) + 0.2 * np.random.default_rng(0).normal(size=(200, 4))
    near *= 1.5 / np.linalg.norm(near, axis=1, keepdims=True)
    losses = np.asarray(harm(trained(), near))
    assert np.max(losses) < float(value)
    assert np.max(losses) > 0.9 * float(value)


def test_the_first_rows_alone_may_have_the_loss_of_the_shift():
    ball = Ball(1.5, rate=1.0, rows=9, solver=Picard(50))
    first = Data(CLEAN.x[:9], CLEAN.y[:9])
    every = Ball(1.5, rate=1.0, solver=Picard(50)).worst(BODY, trained().parameters, first, LOSS)
    shift = ball.worst(BODY, trained().parameters, CLEAN, LOSS)
    np.testing.assert_allclose(shift, every, rtol=1e-12)


@pytest.mark.slow
def test_the_derivative_of_the_shift_adds_nothing_on_the_same_rows():
    """Danskin: at a maximum on the sphere, of the very loss that is descended."""
    ball = BALLS["on the sphere"]
    shift = risk(flat(), ball, CLEAN)[1]

    def still(w):
        parameters = UNRAVEL(w)
        return jnp.mean(LOSS(CLEAN.y, BODY.apply(parameters, CLEAN.x + shift[None]).logits))

    np.testing.assert_allclose(slope(flat(), ball, CLEAN), jax.grad(still)(flat()), atol=1e-9)
    moving = slope(flat(), ball, OTHER)
    apart = jnp.linalg.norm(moving - slope(flat(), cut(ball, 1, 1e-12), OTHER))
    assert float(apart) > 1e-3 * float(jnp.linalg.norm(moving))


@functools.cache
def repair():
    return ImplicitUnlearning(
        Fixed(trained(), LOSS), CLEAN, Ball(1.0, rate=1.0, solver=Picard(15)), share=0.5,
        tuning=Tuning(Descent(optax.sgd(0.1, momentum=0.5), 40), batch=25),
    )  # fmt: skip


def test_the_repaired_network_bears_the_worst_shift():
    fitted = repair().fit(CLEAN, key=KEY)
    assert isinstance(fitted.model, NetworkModel)
    assert isinstance(fitted.model.architecture, MLP)

    before, after = (np.asarray(a)[None] for a in (fitted.report.before, fitted.report.after))
    assert float(harm(fitted.model, after)[0]) < 0.8 * float(harm(trained(), before)[0])
    right = np.mean(np.asarray(fitted.model.predict(OTHER.x)) == OTHER.y)
    assert right > 0.8
    for shift in (before, after):
        assert np.linalg.norm(shift) <= 1 + 1e-12


def test_rows_are_shifted_at_random_by_share():
    """With no row shifted it is fine-tuning."""
    none = dataclasses.replace(repair(), share=0.0)
    tuned = FineTune(repair().learner, CLEAN, repair().tuning).fit(CLEAN, key=KEY).model
    np.testing.assert_allclose(
        none.fit(CLEAN, key=KEY).model.decision(X), tuned.decision(X), rtol=1e-9
    )


@pytest.mark.slow
def test_an_attack_that_knows_it_has_the_gradient_through_it():
    few = Network(BODY, l2=1e-3, solver=Descent(optax.sgd(0.3), 6), derivative=Unroll())
    ball = Ball(1.0, rate=1.0, solver=Picard(60), derivative=Implicit())
    tuning = Tuning(Descent(optax.sgd(0.1), 3), batch=25, derivative=Unroll())
    defense = ImplicitUnlearning(few, OTHER, ball, 0.5, tuning)
    mask = jnp.array([0.0, 0.0, 0.0, 1.0])
    reach = Stamp(triggers.Patch(mask, 2.0, Box(-3.0, 3.0)), jnp.arange(5), 0)
    goal = shown(OTHER.x, jnp.zeros(50, int), lambda y, f: -LOSS(y, f))
    attack = compose(defense, reach, goal, CLEAN, key=KEY)
    z = reach.example(CLEAN)
    value, h = jax.jit(attack), 1e-3
    near, far = (float(value(z + t * mask) - value(z - t * mask)) for t in (h, 2 * h))
    np.testing.assert_allclose(
        jnp.sum(jax.grad(attack)(z) * mask), (8 * near - far) / (12 * h), rtol=1e-7
    )


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Ball(0.0), "^radius: got 0.0, expected a finite number > 0"),
        (lambda: Ball(1.0, penalty=-1.0), "^penalty: got -1.0"),
        (lambda: Ball(1.0, rate=0.0), "^rate: got 0.0"),
        (lambda: ImplicitUnlearning(NET, CLEAN, Ball(1.0), share=2.0), "^share: got 2.0"),
    ],
)
def test_a_mistake_gets_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
