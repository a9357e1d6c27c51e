"""Logistic regression against scikit-learn and central differences."""

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
from sklearn.linear_model import LogisticRegression

from bilevel import Data, append
from bilevel.learners._linear_fit import MANY
from bilevel.learners.logistic import Logistic
from bilevel.learners.svm import SVM
from bilevel.solvers import Newton

every_shape = pytest.mark.parametrize("shape", SHAPES)


@eqx.filter_jit
def train(learner, data):
    return learner.fit(data, throw=False).model


def oracle(x, y, weight, l2, bias=True):
    model = LogisticRegression(
        C=1 / (l2 * weight.sum()), tol=1e-10, solver="newton-cg", fit_intercept=bias
    )
    return model.fit(x, y, sample_weight=weight)


@every_shape
def test_agrees_with_scikit_learn(shape):
    x, y, weight = rows(shape)
    for l2 in (1e-2, 0.1, 10.0):
        model = train(Logistic(l2), Data(x, y, weight))
        expected = oracle(x, y, weight, l2)
        np.testing.assert_allclose(model.w, expected.coef_[0], rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(model.bias, expected.intercept_[0], rtol=1e-6, atol=1e-8)


@every_shape
def test_a_regularised_bias_is_a_column_of_ones(shape):
    x, y, weight = rows(shape)
    model = train(Logistic(0.1, l2_bias=0.1), Data(x, y, weight))
    expected = oracle(np.column_stack([x, np.ones(len(y))]), y, weight, 0.1, bias=False)
    found = jnp.append(model.w, model.bias)
    np.testing.assert_allclose(found, expected.coef_[0], rtol=1e-6, atol=1e-8)


@every_shape
@pytest.mark.parametrize("few", [1, 2, 8])
def test_a_class_of_few_rows_is_trained_to_the_end(shape, few):
    """The first steps are those of the bias, whose slope is the larger part."""
    x, _, _ = rows(shape)
    y, weight = np.where(np.arange(len(x)) < few, -1.0, 1.0), np.ones(len(x))
    for l2 in (0.1, 10.0):
        model = train(Logistic(l2), Data(x, y, weight))
        pull = y / len(x) / (1 + np.exp(y * np.asarray(model.decision(jnp.asarray(x)))))
        np.testing.assert_allclose(pull.sum(), 0, atol=1e-12)
        np.testing.assert_allclose(l2 * model.w, pull @ x, atol=1e-12)


@every_shape
def test_a_far_row_and_a_tiny_strength_are_trained_through(shape):
    """Separable rows, one of them far away: full Newton steps from zero would overshoot."""
    x, y, weight = rows(shape)
    x = x.copy()
    x[0] *= 100
    data, l2 = Data(x, y, weight), 1e-6
    solution = Logistic(l2).fit(data)  # raises unless it converged
    model = solution.model
    pull = weight / weight.sum() * y / (1 + np.exp(y * np.asarray(model.decision(data.x))))
    scale = np.abs(x * pull[:, None]).sum(axis=0) + l2 * np.abs(model.w)
    assert np.all(np.abs(l2 * model.w - pull @ x) <= 1e-9 * scale)
    assert abs(pull.sum()) <= 1e-9 * np.abs(pull).sum()


@every_shape
def test_a_row_of_weight_zero_is_not_there(shape):
    data = Data(*rows(shape))
    model, same = train(Logistic(0.1), data), train(Logistic(0.1), without(data, 2))
    np.testing.assert_allclose(model.w, same.w, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.bias, same.bias, rtol=1e-9)


@every_shape
def test_gradients_are_those_of_central_differences(shape):
    x, y, weight = (jnp.asarray(a) for a in rows(shape))
    at = {"x": x, "y": y, "weight": weight, "l2": jnp.array(0.1), "l2_bias": jnp.array(0.05)}

    def loss(p):
        learner = Logistic(p["l2"], p["l2_bias"])
        return validation_loss(learner, Data(p["x"], p["y"], p["weight"]), shape)

    assert_gradients(loss, at)


@every_shape
def test_attack_and_certificate(shape):
    assert_attack(Logistic(0.05), shape)


def test_prepared_is_unprepared_and_by_the_gram_matrix_is_by_the_hessian():
    x, y, weight = (jnp.asarray(a) for a in rows("wide"))
    known, z = Data(x, y, weight), x[:2] + 0.3
    learners = Logistic(0.1), Logistic(0.1).prepare(known), Logistic(0.1, solver=Newton())
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


def test_warm_starts_change_the_steps_and_not_the_answer():
    data = Data(*rows("wide"))
    cold = Logistic(0.1).fit(data)
    warm = Logistic(0.1).fit(data, cold.warm)
    np.testing.assert_allclose(warm.model.w, cold.model.w, rtol=1e-11)
    assert int(warm.stats["steps"]) < int(cold.stats["steps"])


@every_shape
def test_vmap_and_second_derivatives(shape):
    data = Data(*rows(shape))

    def loss(l2):
        return validation_loss(Logistic(l2), data, shape)

    path = jnp.array([0.02, 0.1, 1.0])
    both, h = jax.jit(jax.value_and_grad(loss)), 1e-5
    alone = [both(l2)[0] for l2 in path]
    np.testing.assert_allclose(jax.jit(jax.vmap(loss))(path), alone, rtol=1e-11)
    second = jax.jit(jax.hessian(loss))(path[1])
    expected = (both(path[1] + h)[1] - both(path[1] - h)[1]) / (2 * h)
    np.testing.assert_allclose(second, expected, rtol=1e-5)


def test_sentences():
    x, y, weight = rows("tall")
    for l2 in (0.0, -1.0, np.nan):
        said = sentence(lambda l2=l2: Logistic(l2))
        assert said.startswith(f"l2: got {l2}, expected a finite number > 0")
    assert "got labels [0. 1.]" in sentence(lambda: Logistic().fit(Data(x, (y + 1) / 2)))
    one_class = Data(x, y, np.where(y > 0, weight, 0))
    assert "has the label 1, expected rows of both" in sentence(lambda: Logistic().fit(one_class))
    assert "all zero" in sentence(lambda: Logistic().fit(Data(x, y, 0 * weight)))


def test_the_surrogate_of_a_linear_svm_is_logistic_regression_of_its_strength():
    """The same weights on the same rows, whatever they sum to; rows of weight zero are none."""
    x, y, weight = rows("tall")
    weight = np.where(np.arange(len(y)) % 4 == 1, 0, weight)
    data = Data(x, y, weight)
    model = train(SVM(0.7).surrogate(data), data)
    expected = oracle(x, y, weight, 1 / (0.7 * weight.sum()))
    np.testing.assert_allclose(model.w, expected.coef_[0], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(model.bias, expected.intercept_[0], rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_many_rows_take_new_factors_and_have_the_same_answer_and_derivative():
    """Beside scikit-learn, and central differences in the strength and a row."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(MANY, 5)) * [1, 2, 3, 4, 5] + 3
    y = np.where(x @ rng.normal(size=5) + 5 * rng.normal(size=MANY) > 0, 1.0, -1.0)
    model = train(Logistic(0.01), Data(x, y))
    theirs = oracle(x, y, np.ones(MANY), 0.01)
    np.testing.assert_allclose(model.w, theirs.coef_[0], rtol=1e-6)

    def loss(at):
        moved = jnp.asarray(x).at[7].set(at["row"])
        return 1e4 * jnp.sum(train(Logistic(at["l2"]), Data(moved, y)).w ** 2)

    assert_gradients(loss, {"l2": jnp.asarray(0.01), "row": jnp.asarray(x[7])}, rtol=1e-6)
