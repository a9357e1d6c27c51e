"""Huber regression against scikit-learn, its own stationarity and central differences."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learner_checks import (
    SHAPES,
    assert_attack,
    assert_gradients,
    rows,
    sentence,
    validation_loss,
    without,
)  # fmt: skip
from sklearn.linear_model import HuberRegressor

from bilevel import Data, append
from bilevel.learners.huber import Huber
from bilevel.learners.ridge import Ridge
from bilevel.losses import Huber as HuberLoss
from bilevel.results import CONVERGED, INVALID
from bilevel.solvers import Newton

every_shape = pytest.mark.parametrize("shape", SHAPES)
DELTA = 0.3


def regression(shape):
    """Rows of which a few are gross outliers, one way."""
    x, y, weight = rows(shape)
    y = y + 0.5 * np.sin(7 * np.arange(len(y)))
    return x, np.where(np.arange(len(y)) % 5 == 1, y + 30, y), weight


@eqx.filter_jit
def train(learner, data):
    return learner.fit(data, throw=False)


def imbalance(learner, data, model):
    """Gradient of the objective at a model, by NumPy, as a share of the terms that cancel in it."""
    x, y, weight = (np.asarray(a) for a in (data.x, data.y, data.weight))
    w, bias, delta = np.asarray(model.w), float(model.bias), float(learner.delta)
    pull = weight / weight.sum() * np.clip(x @ w + bias - y, -delta, delta)
    l2, l2_bias = float(learner.l2), float(learner.l2_bias)
    left = np.append(pull @ x + l2 * w, pull.sum() + l2_bias * bias)
    terms = np.append(np.abs(pull) @ np.abs(x) + l2 * np.abs(w), np.abs(pull).sum())
    return np.max(np.abs(left) / terms)


@every_shape
def test_it_is_the_minimiser(shape):
    data = Data(*regression(shape))
    for l2, delta, l2_bias in ((1e-3, DELTA, 0.0), (0.1, 1e-3, 0.2), (10.0, 5.0, 0.0)):
        learner = Huber(l2, delta, l2_bias)
        solution = train(learner, data)
        assert int(solution.result) == 0
        assert imbalance(learner, data, solution.model) < 1e-10


def test_agrees_with_scikit_learn_where_its_scale_says_so():
    """Its loss is sigma + sum(sigma * huber_eps(r / sigma)), twice ours, with sigma fitted too."""
    x, y, weight = regression("tall")
    oracle = HuberRegressor(epsilon=1.5, alpha=0.7, tol=1e-10, max_iter=10_000)
    oracle.fit(x, y, sample_weight=weight)
    l2 = 0.7 * oracle.scale_ / weight.sum()
    model = train(Huber(l2, 1.5 * oracle.scale_), Data(x, y, weight)).model
    np.testing.assert_allclose(model.w, oracle.coef_, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.bias, oracle.intercept_, rtol=1e-4)


@every_shape
def test_outliers_of_any_size_pull_no_more_than_delta(shape):
    x, y, weight = regression(shape)
    out = np.arange(len(y)) % 5 == 1
    near, far = (train(Huber(0.1, DELTA), Data(x, y + k * out, weight)).model for k in (0, 1e6))
    np.testing.assert_allclose(near.w, far.w, rtol=1e-6)
    squares = train(Ridge(0.1), Data(x, y, weight)).model
    assert float(jnp.linalg.norm(squares.w - near.w)) > float(jnp.linalg.norm(near.w))


@every_shape
def test_a_delta_beyond_all_residuals_is_ridge(shape):
    data = Data(*regression(shape))
    ours, ridge = train(Huber(0.1, 1e3), data), train(Ridge(0.1), data)
    np.testing.assert_allclose(ours.model.w, ridge.model.w, rtol=1e-10)
    assert int(ours.stats["steps"]) <= 3


@pytest.mark.parametrize("case", ["labels", "far", "leverage", "tiny delta"])
@every_shape
def test_newton_gets_there(shape, case):
    """A fifth gross outliers, or no row within delta of where it begins: then no curvature."""
    x, y, weight = regression(shape)
    l2, delta = 1e-3, 0.5
    if case == "labels":
        y = np.sign(y)
    elif case == "far":
        y = y + 1e5
    elif case == "leverage":
        x = np.where(y[:, None] > 20, 100 * x, x)
    else:
        l2, delta = 1e-4, 1e-4
    learner, data = Huber(l2, delta), Data(x, y, weight)
    solution = train(learner, data)
    assert int(solution.result) == 0
    assert imbalance(learner, data, solution.model) < 1e-8


@every_shape
def test_gradients_are_those_of_central_differences(shape):
    x, y, weight = (jnp.asarray(a) for a in regression(shape))
    at = {
        "x": x, "y": y, "weight": weight,
        "l2": jnp.array(0.1), "delta": jnp.array(DELTA), "l2_bias": jnp.array(0.5),
    }  # fmt: skip

    def loss(p):
        learner = Huber(p["l2"], p["delta"], p["l2_bias"])
        return validation_loss(learner, Data(p["x"], p["y"], p["weight"]), shape)

    assert_gradients(loss, at)


@pytest.mark.slow
@every_shape
def test_attack_and_certificate(shape):
    certificate = assert_attack(Huber(0.1, DELTA), shape)
    assert not bool(certificate.degenerate)
    assert 0 < float(certificate.margin) < DELTA


@every_shape
def test_the_margin_is_the_way_to_delta(shape):
    learner, data = Huber(0.1, DELTA), Data(*regression(shape))
    model = train(learner, data).model

    @jax.jit
    def slack():
        problem = learner.training(data).problem
        point = learner.solver.run(problem, learner.solver.cold(problem))
        return learner.solver.slack(problem, point.unknowns, None)

    expected = np.abs(np.abs(np.asarray(model.decision(data.x) - data.y)) - DELTA)
    expected[2] = np.inf  # a row of weight zero
    np.testing.assert_allclose(slack(), expected, rtol=1e-9)


@every_shape
def test_a_row_of_weight_zero_is_not_there(shape):
    data = Data(*regression(shape))
    model, same = (train(Huber(0.1, DELTA), d).model for d in (data, without(data, 2)))
    np.testing.assert_allclose(model.w, same.w, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_prepared_is_unprepared_and_by_the_gram_matrix_is_by_the_hessian():
    x, y, weight = (jnp.asarray(a) for a in regression("wide"))
    known, z = Data(x, y, weight), x[:2] + 0.3
    learner = Huber(0.1, 2.0)
    learners = learner, learner.prepare(known), Huber(0.1, 2.0, solver=Newton())

    @eqx.filter_jit
    def evaluate(learner, z):
        def loss(z):
            return validation_loss(learner, append(known, z, jnp.array([1.0, -1.0])), "wide")

        return jax.value_and_grad(loss)(z)

    value, gradient = evaluate(learners[0], z)
    for learner in learners[1:]:
        again, same = evaluate(learner, z)
        np.testing.assert_allclose(again, value, rtol=1e-12)
        np.testing.assert_allclose(same, gradient, rtol=1e-9, atol=1e-14)


def test_vmap_over_delta():
    data = Data(*regression("tall"))

    @eqx.filter_jit
    def loss(delta):
        return validation_loss(Huber(0.1, delta), data, "tall")

    path = jnp.array([0.01, 0.3, 3.0])
    np.testing.assert_allclose(jax.vmap(loss)(path), [loss(d) for d in path], rtol=1e-11)


def test_the_loss():
    loss, y = HuberLoss(jnp.array(2.0)), jnp.zeros(5)
    f = jnp.array([-5.0, -2.0, 0.5, 2.0, 3.0])
    np.testing.assert_allclose(loss(y, f), [8.0, 2.0, 0.125, 2.0, 4.0], rtol=1e-15)
    inside = np.array([-5.0, -1.9, 0.5, 1.9, 3.0])
    slopes = jax.jit(jax.grad(lambda f: jnp.sum(loss(y, f))))(inside)
    np.testing.assert_allclose(slopes, [-2, -1.9, 0.5, 1.9, 2], rtol=1e-15)
    np.testing.assert_allclose(loss.kinks(y, f), [-3, 0, 1.5, 0, -1])
    assert loss(y.astype(jnp.float32), f.astype(jnp.float32)).dtype == jnp.float32


def test_sentences():
    x, y, _ = regression("tall")
    for delta in (0.0, -1.0, np.nan):
        said = sentence(lambda delta=delta: Huber(1.0, delta))
        assert said.startswith(f"delta: got {delta}, expected a finite number > 0")
    assert sentence(lambda: Huber(0.0)).startswith("l2: got 0.0")
    assert "all zero" in sentence(lambda: Huber().fit(Data(x, y, 0 * y)))


def test_a_traced_delta_or_strength_that_check_would_refuse_is_a_code():
    data = Data(*regression("tall"))

    @jax.jit
    def codes(strengths):
        return jax.vmap(lambda s: Huber(s[0], s[1], s[2]).fit(data, throw=False).result)(strengths)

    cases = {(1.0, 0.5, 0.0): False, (1.0, 0.0, 0.0): True, (1.0, -1.0, 0.0): True,
             (0.0, 0.5, 0.0): True, (1.0, 0.5, -1.0): True}  # fmt: skip
    found = codes(jnp.asarray(list(cases)))
    assert [int(code) == INVALID for code in found] == list(cases.values())
    assert int(found[0]) == CONVERGED
