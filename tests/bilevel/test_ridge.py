"""Ridge against scikit-learn, the formula of Jagielski et al., and central differences."""

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
    validation,
    validation_loss,
    without,
)  # fmt: skip
from sklearn import linear_model

from bilevel import Data, append
from bilevel.learners import LinearModel, Logistic
from bilevel.learners.ridge import Ridge
from bilevel.solvers import Newton

every_shape = pytest.mark.parametrize("shape", SHAPES)
NOISE = 0.5


def regression(shape):
    x, y, weight = rows(shape)
    return x, y + NOISE * np.sin(7 * np.arange(len(y))), weight


@eqx.filter_jit
def train(learner, data):
    return learner.fit(data, throw=False)


@every_shape
def test_agrees_with_scikit_learn(shape):
    x, y, weight = regression(shape)
    for l2 in (1e-3, 0.1, 10.0):
        solution = train(Ridge(l2), Data(x, y, weight))
        model = solution.model
        oracle = linear_model.Ridge(alpha=l2 * weight.sum(), tol=1e-12)
        oracle.fit(x, y, sample_weight=weight)
        np.testing.assert_allclose(model.w, oracle.coef_, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(model.bias, oracle.intercept_, rtol=1e-9)
        at = validation(shape)[0]
        np.testing.assert_allclose(model.decision(jnp.asarray(at)), oracle.predict(at), rtol=1e-8)
        assert int(solution.stats["steps"]) <= 3  # one, and what confirms it


@every_shape
def test_a_regularised_bias_is_a_column_of_ones(shape):
    x, y, weight = regression(shape)
    model = train(Ridge(0.1, l2_bias=0.1), Data(x, y, weight)).model
    ones = np.column_stack([x, np.ones(len(y))])
    oracle = linear_model.Ridge(alpha=0.1 * weight.sum(), fit_intercept=False)
    oracle.fit(ones, y, sample_weight=weight)
    np.testing.assert_allclose(jnp.append(model.w, model.bias), oracle.coef_, rtol=1e-8)


@every_shape
def test_a_row_of_weight_zero_is_not_there(shape):
    data = Data(*regression(shape))
    model, same = train(Ridge(0.1), data).model, train(Ridge(0.1), without(data, 2)).model
    np.testing.assert_allclose(model.w, same.w, rtol=1e-10)
    np.testing.assert_allclose(model.bias, same.bias, rtol=1e-10)


@every_shape
def test_gradients_are_those_of_central_differences(shape):
    x, y, weight = (jnp.asarray(a) for a in regression(shape))
    at = {"x": x, "y": y, "weight": weight, "l2": jnp.array(0.1), "l2_bias": jnp.array(0.05)}

    def loss(p):
        learner = Ridge(p["l2"], p["l2_bias"])
        return validation_loss(learner, Data(p["x"], p["y"], p["weight"]), shape)

    assert_gradients(loss, at)


@every_shape
def test_attack_and_certificate(shape):
    assert_attack(Ridge(0.1), shape)


def test_formula_of_the_regression_attack():
    """Jagielski et al. 2018, equations 7-10, with moments over all rows, poison included."""
    x, y, _ = regression("tall")
    l2, (x_val, y_val) = 0.3, validation("tall")
    x_c, y_c = np.random.default_rng(4).normal(size=x.shape[1]), 2.0

    @jax.jit
    @jax.grad
    def gradient(z):
        data = append(Data(x, y), z[None, :-1], z[-1:])
        f = Ridge(l2).fit(data, throw=False).model.decision(jnp.asarray(x_val))
        return jnp.mean((f - y_val) ** 2)

    rows_, N, d = np.vstack([x, x_c]), len(y) + 1, x.shape[1]
    model = train(Ridge(l2), Data(rows_, np.append(y, y_c))).model
    w, b = np.asarray(model.w), float(model.bias)
    mean = rows_.mean(axis=0)
    left = np.block([[rows_.T @ rows_ / N + l2 * np.eye(d), mean[:, None]], [mean[None, :], 1]])
    r = x_c @ w + b - y_c
    top = np.column_stack([np.outer(x_c, w) + r * np.eye(d), -x_c])
    right = -np.vstack([top, np.append(w, -1)]) / N
    outer = 2 * np.append((x_val @ w + b - y_val) @ x_val, np.sum(x_val @ w + b - y_val))
    expected = outer / len(y_val) @ np.linalg.solve(left, right)
    ours = gradient(jnp.append(x_c, y_c))
    cosine = ours @ expected / np.linalg.norm(ours) / np.linalg.norm(expected)
    np.testing.assert_allclose(cosine, 1, rtol=1e-12)
    np.testing.assert_allclose(ours, expected, rtol=1e-9)


@pytest.mark.slow  # that of logistic regression is fast
def test_prepared_is_unprepared_and_by_the_gram_matrix_is_by_the_hessian():
    x, y, weight = (jnp.asarray(a) for a in regression("wide"))
    known, z = Data(x, y, weight), x[:2] + 0.3
    learners = Ridge(0.1), Ridge(0.1).prepare(known), Ridge(0.1, solver=Newton())
    assert learners[1].known is not None

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


@every_shape
def test_vmap_and_second_derivatives(shape):
    x, y, weight = regression(shape)
    data = Data(x, y, weight)

    def loss(l2):
        return validation_loss(Ridge(l2), data, shape)

    path = jnp.array([0.01, 0.1, 1.0])
    both, h = jax.jit(jax.value_and_grad(loss)), 1e-5
    alone = [both(l2)[0] for l2 in path]
    np.testing.assert_allclose(jax.jit(jax.vmap(loss))(path), alone, rtol=1e-12)
    second = jax.jit(jax.hessian(loss))(path[1])
    expected = (both(path[1] + h)[1] - both(path[1] - h)[1]) / (2 * h)
    np.testing.assert_allclose(second, expected, rtol=1e-5)


def test_rows_in_single_precision_are_trained_on_in_it():
    x, y, _ = regression("tall")
    model = train(Ridge(0.1), Data(x.astype(np.float32), y)).model
    assert model.w.dtype == jnp.float32
    np.testing.assert_allclose(model.w, train(Ridge(0.1), Data(x, y)).model.w, rtol=1e-4)


def test_sentences():
    x, y, _ = regression("tall")
    ones = np.ones(len(y))
    for l2 in (0.0, -1.0, np.nan, np.inf):
        assert sentence(lambda l2=l2: Ridge(l2)).startswith(
            f"l2: got {l2}, expected a finite number > 0"
        )
    assert sentence(lambda: Ridge(1.0, l2_bias=-1.0)).startswith("l2_bias: got -1.0, expected")
    assert "all zero" in sentence(lambda: Ridge().fit(Data(x, y, 0 * ones)))
    assert "weights >= 0" in sentence(lambda: Ridge().fit(Data(x, y, ones - 2)))
    broken = x.copy()
    broken[3, 1] = np.nan
    assert "index (3, 1)" in sentence(lambda: Ridge().fit(Data(broken, y)))
    assert "one per row" in sentence(lambda: Ridge().fit(Data(x, y[:-1])))


@pytest.mark.parametrize("learner", [Ridge(0.1), Logistic(0.1)])
@pytest.mark.parametrize("width", [3, 80])
def test_a_minimiser_at_zero_is_found(learner, width):
    x = np.random.default_rng(0).normal(size=(30, width))
    data = Data(np.concatenate([x, x]), np.repeat([1.0, -1.0], 30))
    model = learner.fit(data).model
    assert isinstance(model, LinearModel)
    np.testing.assert_allclose(model.w, 0, atol=1e-14)
