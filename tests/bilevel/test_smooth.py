"""Solvers of smooth problems: to machine precision, or an honest failure."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from bilevel import SolveError, argmin
from bilevel.problems import Smooth
from bilevel.results import CONVERGED, MAX_STEPS, NON_FINITE
from bilevel.solvers import LBFGS, Newton, NewtonCG

SOLVERS = {
    "newton": Newton(),
    "newton_cg": NewtonCG(),
    "lbfgs": LBFGS(),
    "lbfgs_cg": LBFGS(finish=NewtonCG()),
}
RNG = np.random.default_rng(0)
ROWS, FEATURES = 60, 8
X = RNG.normal(size=(ROWS, FEATURES)) * 10 ** np.linspace(-1, 1, FEATURES)
Y = np.sign(X @ RNG.normal(size=FEATURES) + 5 * RNG.normal(size=ROWS))
TARGET = RNG.normal(size=ROWS)
CENTRE = RNG.normal(size=FEATURES)
every_solver = pytest.mark.parametrize("name", SOLVERS)


class Ridge(eqx.Module):
    def __call__(self, w, log_l2):
        residual = jnp.asarray(X) @ w - jnp.asarray(TARGET)
        return 0.5 * jnp.sum(residual**2) + 0.5 * jnp.exp(log_l2) * jnp.sum(w * w)


class Logistic(eqx.Module):
    def __call__(self, w, log_l2):
        margin = jnp.asarray(Y) * (jnp.asarray(X) @ w)
        return jnp.sum(jnp.logaddexp(0, -margin)) + 0.5 * jnp.exp(log_l2) * jnp.sum(w * w)


@eqx.filter_jit
def solve(loss, log_l2, solver, hessian=None):
    """The solution, and the derivative of a smooth function of it in log_l2."""

    def score(t):
        problem = Smooth(loss, jnp.zeros(FEATURES), t, hessian)
        solution = argmin(problem, solver=solver, throw=False)
        return jnp.sum(jnp.sin(solution.value - jnp.asarray(CENTRE))), solution

    (_, solution), slope = jax.value_and_grad(score, has_aux=True)(log_l2)
    return solution, slope


def adjoint(w, hessian, log_l2):
    """d score / d log_l2 by hand: H dw = -l2 w dt."""
    return -np.cos(w - CENTRE) @ np.linalg.solve(hessian, np.exp(log_l2) * w)


@every_solver
@pytest.mark.parametrize("log_l2", [-2.0, 3.0])
def test_ridge_is_its_closed_form(name, log_l2):
    solution, slope = solve(Ridge(), jnp.float64(log_l2), SOLVERS[name])
    hessian = X.T @ X + np.exp(log_l2) * np.eye(FEATURES)
    w = np.linalg.solve(hessian, X.T @ TARGET)
    assert int(solution.result) == CONVERGED
    np.testing.assert_allclose(solution.value, w, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(slope, adjoint(w, hessian, log_l2), rtol=1e-9)


def logistic_by_hand(log_l2):
    w, hessian = np.zeros(FEATURES), np.eye(FEATURES)
    for _ in range(50):
        p = 1 / (1 + np.exp(Y * (X @ w)))
        hessian = (X.T * (p * (1 - p))) @ X + np.exp(log_l2) * np.eye(FEATURES)
        w = w - np.linalg.solve(hessian, np.exp(log_l2) * w - X.T @ (Y * p))
    return w, hessian


@every_solver
def test_logistic_regression_is_newton_by_hand_and_scikit_learn(name):
    log_l2 = -1.0
    solution, slope = solve(Logistic(), jnp.float64(log_l2), SOLVERS[name])
    w, hessian = logistic_by_hand(log_l2)
    assert int(solution.result) == CONVERGED
    np.testing.assert_allclose(solution.value, w, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(slope, adjoint(w, hessian, log_l2), rtol=1e-9)
    oracle = LogisticRegression(
        C=np.exp(-log_l2), fit_intercept=False, tol=1e-10, solver="newton-cholesky", max_iter=200
    ).fit(X, Y)
    np.testing.assert_allclose(solution.value, oracle.coef_[0], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("factor", [0.8, 1.3, 1e-3, 1e3, -1.0])
def test_a_wrong_hessian_costs_steps_but_no_digits(factor):
    def wrong(w, log_l2):
        p = jax.nn.sigmoid(-jnp.asarray(Y) * (jnp.asarray(X) @ w))
        right = (jnp.asarray(X).T * (p * (1 - p))[None, :]) @ jnp.asarray(X)
        right = right + jnp.exp(log_l2) * jnp.eye(FEATURES)
        mildly = 0.5 < factor < 1.5
        return factor * right + (0 if mildly else 0.1 * abs(factor)) * jnp.diag(jnp.diag(right))

    log_l2 = -1.0
    solution, slope = solve(Logistic(), jnp.float64(log_l2), Newton(), wrong)
    w, hessian = logistic_by_hand(log_l2)
    if int(solution.result) == CONVERGED:
        np.testing.assert_allclose(solution.value, w, rtol=1e-7, atol=1e-9)
        if np.isfinite(slope):  # the linear solver answers NaN rather than a wrong number
            np.testing.assert_allclose(slope, adjoint(w, hessian, log_l2), rtol=1e-6)
    if 0.5 < factor < 1.5:
        assert int(solution.result) == CONVERGED
        assert np.isfinite(slope)


def test_the_right_hessian_is_used():
    def right(w, log_l2):
        return jnp.asarray(X).T @ jnp.asarray(X) + jnp.exp(log_l2) * jnp.eye(FEATURES)

    given, slope = solve(Ridge(), jnp.float64(0.0), Newton(), right)
    found, same = solve(Ridge(), jnp.float64(0.0), Newton())
    np.testing.assert_allclose(given.value, found.value, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(slope, same, rtol=1e-10)


@pytest.mark.parametrize("solver", [Newton(max_steps=1), NewtonCG(max_steps=1)])
def test_too_few_steps_are_reported(solver):
    solution, _ = solve(Logistic(), jnp.float64(-1.0), solver)
    assert int(solution.result) == MAX_STEPS
    assert "max_steps" in solution.message
    with pytest.raises(SolveError, match="max_steps"):
        argmin(Smooth(Logistic(), jnp.zeros(FEATURES), jnp.float64(-1.0)), solver=solver)


@every_solver
def test_nan_is_reported(name):
    solution, _ = solve(Ridge(), jnp.float64(jnp.nan), SOLVERS[name])
    assert int(solution.result) == NON_FINITE


@every_solver
def test_no_minimiser_is_no_solution(name):
    """Separable data without a penalty: the loss falls for ever."""
    flat = Smooth(lambda w, _: jnp.sum(jnp.exp(-w)), jnp.zeros(2), None)
    assert int(argmin(flat, solver=SOLVERS[name], throw=False).result) != CONVERGED


@every_solver
def test_a_warm_start_changes_steps_and_not_the_answer(name):
    problem = Smooth(Logistic(), jnp.zeros(FEATURES), jnp.float64(-1.0))
    first, _ = solve(Logistic(), problem.args, SOLVERS[name])
    again = argmin(problem, first.warm, solver=SOLVERS[name])
    assert int(again.stats["steps"]) <= 2
    np.testing.assert_allclose(again.value, first.value, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", ["newton", "lbfgs"])
def test_vmap_is_a_loop(name):
    penalties = jnp.asarray([-3.0, 0.0, 4.0])
    together, slopes = eqx.filter_vmap(solve, in_axes=(None, 0, None))(
        Logistic(), penalties, SOLVERS[name]
    )
    for i, penalty in enumerate(penalties):
        alone, slope = solve(Logistic(), penalty, SOLVERS[name])
        np.testing.assert_allclose(together.value[i], alone.value, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(slopes[i], slope, rtol=1e-8)


def test_far_from_quadratic_still_converges():
    def loss(w, shift):
        return jnp.sum(jnp.log(jnp.cosh(5 * (w - shift)))) + 1e-3 * jnp.sum(w * w)

    problem = Smooth(loss, jnp.full(3, 30.0), jnp.asarray([1.0, -2.0, 0.5]))
    slope = jax.jit(jax.grad(loss))
    for solver in SOLVERS.values():
        solution = argmin(problem, solver=solver)
        gradient = slope(solution.value, problem.args)
        assert float(jnp.max(jnp.abs(gradient))) < 1e-12
