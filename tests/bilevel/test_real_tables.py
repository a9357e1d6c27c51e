"""Tables as they are: far from the origin, in mixed units, one-hot, with many rows."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import HuberRegressor
from sklearn.linear_model import LogisticRegression as TwinLogistic
from sklearn.linear_model import Ridge as TwinRidge
from sklearn.svm import SVC

from attacks import Box, Insert, compose, indiscriminate
from bilevel import Data, certify
from bilevel.learners import SVM, Huber, Logistic, Ridge, Softmax, kernels
from bilevel.problems import BoxQP, Product
from bilevel.results import CONVERGED
from bilevel.solvers import ActiveSet

ROWS, FEATURES = 60, 4
KINDS = ("offset", "mixed", "one-hot", "tied")


def table(kind: str, seed: int = 0):
    rng = np.random.default_rng([KINDS.index(kind), seed])
    y = np.where(np.arange(ROWS) % 2, 1.0, -1.0)
    x = rng.normal(size=(ROWS, FEATURES)) + 0.5 * y[:, None]
    if kind == "offset":  # years, amounts, time stamps
        x = x + 10.0 ** rng.uniform(3, 6, FEATURES)
    elif kind == "mixed":
        x = x * 10.0 ** rng.uniform(-4, 4, FEATURES)
    elif kind == "one-hot":
        x = np.concatenate([np.eye(2)[(x[:, j] > 0).astype(int)] for j in range(2)], axis=1)
    else:
        x = np.round(2 * x)
    return x, y


@eqx.filter_jit
def fit(learner, x, y):
    return learner.fit(Data(x, y), throw=False)


def objective(w, bias, x, y, loss, l2):
    """Mean loss and l2/2 |w|^2 in extended precision, of a model of the centred rows."""
    f = x.astype(np.longdouble) @ w + bias
    return float(np.mean(loss(y, f)) + l2 / 2 * np.sum(np.asarray(w, np.longdouble) ** 2))


def centred(model, x):
    """The rows less their mean, and the model's weights and bias for these."""
    mean = x.mean(0)
    w = getattr(model, "w", None)
    if w is None:
        w = sum(np.asarray(coef) @ np.asarray(rows) for rows, coef in model.terms)
    w = np.asarray(w)
    return x - mean, w, float(model.bias) + mean @ w


@pytest.mark.filterwarnings("ignore:Solver terminated early")
@pytest.mark.parametrize("C", [0.1, 1.0, 1e3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_svm_trains_where_libsvm_does(kind, C):
    for seed in range(4):
        x, y = table(kind, seed)
        fitted = fit(SVM(jnp.asarray(C)), x, y)
        assert int(fitted.result) == CONVERGED
        at, w, bias = centred(fitted.model, x)
        twin = SVC(kernel="linear", C=C, tol=1e-6, max_iter=100_000).fit(at, y)

        def hinge(y, f):
            return np.maximum(0, 1 - y * f)

        l2 = 1 / (C * ROWS)
        ours = objective(w, bias, at, y, hinge, l2)
        assert ours <= objective(twin.coef_[0], twin.intercept_[0], at, y, hinge, l2) + 1e-10


TWINS = {
    "ridge": (Ridge(0.1), lambda y, f: (f - y) ** 2 / 2, TwinRidge(0.1 * ROWS)),
    "logistic": (
        Logistic(0.1),
        lambda y, f: np.logaddexp(0, -y * f),
        TwinLogistic(C=1 / (0.1 * ROWS), tol=1e-12, max_iter=10_000, solver="newton-cholesky"),
    ),
    "huber": (
        Huber(0.1, 0.5),
        lambda y, f: np.where(np.abs(f - y) < 0.5, (f - y) ** 2 / 2, np.abs(f - y) / 2 - 0.125),
        None,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TWINS)
def test_smooth_learners_reach_the_least_objective(name, kind):
    learner, loss, twin = TWINS[name]
    x, y = table(kind)
    fitted = fit(learner, x, y)
    assert int(fitted.result) == CONVERGED
    at, w, bias = centred(fitted.model, x)
    ours = objective(w, bias, at, y, loss, 0.1)
    if twin is not None:
        twin.fit(at, y)
        there = objective(np.ravel(twin.coef_), np.ravel(twin.intercept_)[0], at, y, loss, 0.1)
        assert ours <= there + 1e-12
    rng = np.random.default_rng(0)
    for size in (1e-2, 1e-4):  # a convex objective that rises in every direction is at its least
        for _ in range(20):
            step = size * rng.normal(size=FEATURES + 1) / np.append(at.std(0) + 1e-9, 1)
            assert objective(w + step[:-1], bias + step[-1], at, y, loss, 0.1) >= ours - 1e-15


def test_softmax_far_from_the_origin_is_softmax_at_it():
    x, _ = table("tied")
    y = np.arange(ROWS) % 3
    near = Softmax(3, 0.1).fit(Data(x, y)).model
    far = Softmax(3, 0.1).fit(Data(x + 2.0**20, y)).model
    np.testing.assert_allclose(far.W, near.W, rtol=1e-8, atol=1e-10)


def test_huber_agrees_with_its_twin_where_a_column_is_constant():
    x, y = table("tied")
    x[:, 0] = 1e6
    model = Huber(0.1, 1.35).fit(Data(x, y)).model
    assert abs(float(model.w[0])) < 1e-12
    twin = HuberRegressor().fit(x[:, 1:], y)
    assert np.mean((model.decision(x) > 0) == (twin.predict(x[:, 1:]) > 0)) > 0.9


def test_a_product_is_its_dense_matrix():
    x, y = table("tied")
    z, n = y[:, None] * x, ROWS

    @jax.jit
    def both(z):
        def value(Q):
            zero = jnp.zeros(n)
            problem = BoxQP(Q, zero - 1, zero, zero + 0.5, jnp.asarray(y), jnp.zeros(()))
            point = ActiveSet().run(problem, ActiveSet().cold(problem))
            x = ActiveSet().value(problem, point.unknowns, point.frozen)[0]
            return x @ (0.5 * (Q @ x) - 1), point.result

        return value(Product(z)), value(Product(z).dense())

    (low, solved), (dense, also) = both(jnp.asarray(z))
    assert int(solved) == int(also) == CONVERGED
    np.testing.assert_allclose(low, dense, rtol=1e-12)


def test_many_rows_of_few_columns_form_no_matrix_of_all_pairs():
    def training(x):
        return SVM(1.0).fit(Data(x, np.resize([1.0, -1.0], 400)), throw=False).model.bias

    text = str(jax.make_jaxpr(jax.grad(training))(jnp.ones((400, 5))))
    assert "400,400" not in text
    assert "400,5]" in text


def test_a_multiplier_is_an_interval_where_no_variable_of_the_equality_is_free():
    """Two variables of opposite signs: both at their bound, or both between."""
    solver, zero, one = ActiveSet(), jnp.zeros(2), jnp.ones(2)

    @eqx.filter_jit
    def unmet(slope):
        problem = BoxQP(jnp.eye(2), slope * one, zero, one, jnp.asarray([1.0, -1.0]), zero[0])
        point = solver.run(problem, solver.cold(problem))
        return solver.unmet(problem, point.unknowns, point.frozen)

    for slope, interval in ((-5.0, True), (-0.5, False)):
        found = unmet(jnp.asarray(slope))
        assert (bool(found[0]), float(found[1])) == (interval, 0)


@pytest.mark.slow
def test_a_bias_that_no_row_determines_is_told():
    """All multipliers at their bound: the equality holds by itself, while no weight moves."""
    x, y = table("tied")
    data = Data(0.01 * x, y)

    reach = Insert([1.0, -1.0], Box(-10.0, 10.0))
    attack = compose(SVM(0.01), reach, indiscriminate(0.01 * x, y), data)
    certificate = certify(attack, jnp.zeros((2, FEATURES)))
    assert bool(certificate.undetermined)
    assert "NOT DETERMINED" in str(certificate)
    assert not bool(certificate.degenerate)  # rows move no weight
    rbf = compose(SVM(10.0, kernels.RBF(1.0)), reach, indiscriminate(x, y), Data(x, y))
    assert not bool(certify(rbf, jnp.zeros((2, FEATURES))).undetermined)


def test_softmax_on_amounts_and_counts_ends():
    """Along what all classes share the curvature is that of the penalty alone, 1e-13 of others."""
    rng = np.random.default_rng(0)
    x = np.stack([np.round(np.exp(12 + rng.normal(size=ROWS))), rng.integers(0, 2, ROWS)], axis=1)
    for l2 in (2e-3, 1e-5):
        fitted = Softmax(3, jnp.asarray(l2)).fit(Data(x, np.arange(ROWS) % 3), throw=False)
        assert int(fitted.result) == CONVERGED
