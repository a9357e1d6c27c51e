"""Softmax regression against scikit-learn and central differences."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from central import direction, slope
from jax.flatten_util import ravel_pytree
from learner_checks import sentence
from sklearn.linear_model import LogisticRegression

from attacks import Box, Insert, compose, indiscriminate
from bilevel import Data, certify
from bilevel.learners import Softmax
from bilevel.losses import CrossEntropy
from bilevel.solvers import Newton, NewtonCG

ROWS, FEATURES, CLASSES = 24, 5, 3
RNG = np.random.default_rng(0)
Y = np.arange(ROWS) % CLASSES
X = RNG.normal(size=(ROWS, FEATURES)) + 0.5 * RNG.normal(size=(CLASSES, FEATURES))[Y]
WEIGHT = RNG.uniform(0.5, 2, size=ROWS)
X_VAL, Y_VAL = X[:9] + 0.3, Y[:9].astype(float)
every_solver = pytest.mark.parametrize("solver", [Newton(), NewtonCG()], ids=["newton", "cg"])


@eqx.filter_jit
def train(learner, data):
    return learner.fit(data, throw=False).model


@every_solver
def test_agrees_with_scikit_learn(solver) -> None:
    for l2 in (0.02, 0.5):
        model = train(Softmax(CLASSES, l2, solver=solver), Data(X, Y, WEIGHT))
        oracle = LogisticRegression(C=1 / (l2 * WEIGHT.sum()), tol=1e-10, solver="newton-cg")
        oracle.fit(X, Y, sample_weight=WEIGHT)
        np.testing.assert_allclose(model.W.T, oracle.coef_, rtol=1e-6, atol=1e-8)
        apart = model.bias - oracle.intercept_
        np.testing.assert_allclose(apart - apart.mean(), 0, atol=1e-7)
        assert abs(float(model.bias.sum())) < 1e-10
        np.testing.assert_array_equal(jnp.argmax(model.decision(X), axis=1), oracle.predict(X))


@every_solver
def test_gradients_are_those_of_central_differences(solver) -> None:
    @jax.jit
    @jax.value_and_grad
    def both(p):
        learner = Softmax(CLASSES, p["l2"], p["l2_bias"], solver)
        data = Data(p["x"], jnp.asarray(Y, float), p["weight"])
        f = learner.fit(data, throw=False).model.decision(jnp.asarray(X_VAL))
        return jnp.mean(CrossEntropy()(jnp.asarray(Y_VAL), f))

    at = {"x": X, "weight": WEIGHT, "l2": np.array(0.05), "l2_bias": np.array(0.02)}
    gradient = both(at)[1]
    for name, leaf in direction(at, seed=3).items():
        along = {k: leaf if k == name else np.zeros_like(v) for k, v in at.items()}
        expected = slope(lambda at: both(at)[0], at, along, step=5e-4)
        ours = float(np.sum(gradient[name] * leaf))
        np.testing.assert_allclose(ours, expected, rtol=1e-8, err_msg=name)


@pytest.mark.slow
def test_an_attack_on_it_is_composed_and_certified() -> None:
    learner = Softmax(CLASSES, 0.05, solver=Newton())
    goal = indiscriminate(X_VAL, Y_VAL, CrossEntropy())
    attack = compose(learner, Insert([0.0, 2.0], Box(-4.0, 4.0)), goal, Data(X, Y, WEIGHT))
    z = jnp.asarray(RNG.normal(size=(2, FEATURES)))
    certificate = certify(attack, z)
    along = direction(z, seed=6)
    value = eqx.filter_jit(lambda z: attack.evaluate(z)[0])
    expected = slope(value, z, along, step=5e-4)
    np.testing.assert_allclose(jnp.sum(certificate.gradient * along), expected, rtol=1e-8)
    assert float(certificate.error_bound) < 1e-10


def test_sentences() -> None:
    assert "classes: got 1, expected 2 or more" in sentence(lambda: Softmax(1))
    assert "l2: got 0.0" in sentence(lambda: Softmax(3, 0.0))
    said = sentence(lambda: Softmax(CLASSES).fit(Data(X, Y + 1)))
    assert said == "y: got the label 3, expected class numbers 0 to 2"
    assert "got the label 0.5" in sentence(lambda: Softmax(3).fit(Data(X, Y * 0.5)))


@pytest.mark.parametrize("l2_bias", [0.0, 0.3])
def test_the_hessian_is_that_of_the_objective_with_rows_that_count_more(l2_bias):
    rng = np.random.default_rng(7)
    data = Data(3 + rng.normal(size=(4, 2)), np.array([0, 2, 1, 2]), np.array([1.0, 5, 0, 2]))
    problem = Softmax(3, 0.2, l2_bias).training(data).problem
    at = jnp.asarray(rng.normal(size=(2, 3))), jnp.asarray(rng.normal(size=3))
    flat, unravel = ravel_pytree(at)
    expected = jax.jit(jax.hessian(lambda u: problem.objective(unravel(u), problem.args)))(flat)
    np.testing.assert_allclose(problem.hessian(at, problem.args), expected, rtol=1e-9, atol=1e-12)
