"""Penalised least squares by working sets: scikit-learn, optimality, differences, degeneracy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from central import direction, slope
from sklearn import linear_model

from bilevel import Bilevel, argmin, certify
from bilevel.penalties import L1, ElasticNet, NonNegative
from bilevel.problems.penalised_least_squares import PenalisedLeastSquares
from bilevel.results import ACTIVE_SET, CONVERGED, NON_FINITE
from bilevel.solvers.sparse.working_set import WorkingSet

ROWS, FEATURES = 20, 12
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, FEATURES)) + 0.5 * RNG.normal(size=(ROWS, 1))
Y = X[:, :3] @ np.array([1.0, -2.0, 0.7]) + 0.5 * RNG.normal(size=ROWS)
WEIGHTS = RNG.uniform(0.5, 1.5, size=ROWS) / ROWS
GOAL = jnp.asarray(RNG.normal(size=FEATURES))
SOLVER = WorkingSet()
# Each penalty with strengths of its own for each feature.
STRENGTHS = jnp.asarray(RNG.uniform(0.15, 0.25, size=FEATURES))
PENALTIES = {
    "l1": lambda s: L1(s),
    "elastic_net": lambda s: ElasticNet(s, 0.1 + s**2),
    "non_negative": lambda s: NonNegative(0.2 * s),
    "free_features": lambda s: L1(s.at[:2].set(0.0)),
}
every_penalty = pytest.mark.parametrize("name", PENALTIES)


@eqx.filter_jit
def solve(X, y, penalty, weights=None, warm=None):
    problem = PenalisedLeastSquares(X, y, penalty, weights)
    return argmin(problem, warm, solver=SOLVER, throw=False)


def arguments():
    return {
        "rows": jnp.asarray(X),
        "targets": jnp.asarray(Y),
        "weights": jnp.asarray(WEIGHTS),
        "strength": STRENGTHS,
    }


def problem_of(a, name):
    return PenalisedLeastSquares(
        a["rows"], a["targets"], PENALTIES[name](a["strength"]), a["weights"]
    )


def of_solution(w):
    return jnp.sum(jnp.sin(w + GOAL))


def score(a, name):
    return of_solution(argmin(problem_of(a, name), solver=SOLVER).value)


@eqx.filter_jit
def value_and_grad(a, name):
    return jax.value_and_grad(score)(a, name)


def gradient(a, name):
    return value_and_grad(a, name)[1]


def violation(X, y, low, high, bend, weights, w):
    """Of the optimality conditions, relative to the terms of a slope."""
    terms = (weights * np.abs(X @ w - y)) @ np.abs(X) + bend * np.abs(w)
    slope = (weights * (X @ w - y)) @ X + bend * w
    on = np.where(w > 0, np.abs(slope + high), np.abs(slope + low))
    off = np.maximum(np.maximum(-slope - high, slope + low), 0)
    return np.max(np.where(w != 0, on, off) / (terms + np.abs(high)))


def test_the_lasso_is_that_of_scikit_learn():
    w = solve(jnp.asarray(X), jnp.asarray(Y), L1(jnp.asarray(0.2))).value
    oracle = linear_model.Lasso(alpha=0.2, fit_intercept=False, tol=1e-14, max_iter=100_000)
    np.testing.assert_allclose(w, oracle.fit(X, Y).coef_, rtol=1e-7, atol=1e-9)
    assert 0 < np.count_nonzero(w) < FEATURES


def test_the_elastic_net_is_that_of_scikit_learn():
    penalty = ElasticNet(jnp.asarray(0.3 * 0.6), jnp.asarray(0.3 * 0.4))
    w = solve(jnp.asarray(X), jnp.asarray(Y), penalty).value
    oracle = linear_model.ElasticNet(alpha=0.3, l1_ratio=0.6, fit_intercept=False, tol=1e-14)
    np.testing.assert_allclose(w, oracle.fit(X, Y).coef_, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("strength", [0.0, 0.05])
def test_the_non_negative_lasso_is_that_of_scikit_learn(strength):
    w = solve(jnp.asarray(X), jnp.asarray(Y), NonNegative(jnp.asarray(strength))).value
    if strength == 0:
        oracle = linear_model.LinearRegression(positive=True, fit_intercept=False)
    else:
        oracle = linear_model.Lasso(alpha=strength, positive=True, fit_intercept=False, tol=1e-14)
    np.testing.assert_allclose(w, oracle.fit(X, Y).coef_, rtol=1e-7, atol=1e-9)
    assert 0 < np.count_nonzero(w) < FEATURES


def test_weights_and_an_intercept_are_those_of_scikit_learn():
    strength = jnp.full(FEATURES + 1, 0.2).at[-1].set(0)
    rows = jnp.asarray(np.column_stack([X, np.ones(ROWS)]))
    share = WEIGHTS / WEIGHTS.sum()
    w = solve(rows, jnp.asarray(Y), L1(strength), jnp.asarray(share)).value
    oracle = linear_model.Lasso(alpha=0.2, tol=1e-14).fit(X, Y, sample_weight=WEIGHTS)
    np.testing.assert_allclose(w[:-1], oracle.coef_, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(w[-1], oracle.intercept_, rtol=1e-7)


@pytest.mark.parametrize("kind", ["tall", "wide", "dependent"])
def test_hard_problems_are_solved_to_rounding(kind):
    """From strong to hardly any penalty; with more features than rows; nearly dependent ones."""
    rng = np.random.default_rng(1)
    n, d = (60, 100) if kind == "tall" else (25, 100)
    for trial in range(3):
        A = rng.normal(size=(n, d))
        if kind == "dependent":
            A = rng.normal(size=(n, 4)) @ rng.normal(size=(4, d)) + 0.05 * A
        b = A[:, :5] @ rng.normal(size=5) + rng.normal(size=n)
        for share in (0.5, 0.1, 0.01, 1e-3):
            strength = share * np.max(np.abs(A.T @ b)) / n
            penalty = L1(jnp.asarray(strength))
            solution = solve(jnp.asarray(A), jnp.asarray(b), penalty)
            assert int(solution.result) == CONVERGED, (trial, share)
            w, weights = np.asarray(solution.value), np.full(n, 1 / n)
            assert violation(A, b, -strength, strength, 0, weights, w) < 1e-12
            assert np.count_nonzero(w) <= n


@every_penalty
def test_gradients_are_those_of_central_differences_in_every_argument(name):
    a = arguments()
    found = gradient(a, name)
    for argument in a:
        for seed in range(2):
            d = {k: np.zeros(v.shape) for k, v in a.items()}
            d[argument] = direction(a[argument], seed)
            exact = float(sum(np.vdot(found[k], d[k]) for k in a))
            scale = np.linalg.norm(found[argument])
            error = abs(exact - slope(lambda a: value_and_grad(a, name)[0], a, d))
            assert error <= 1e-8 * max(scale, 1e-3), argument
            assert scale > 0


@pytest.mark.parametrize(
    "name", ["elastic_net", pytest.param("free_features", marks=pytest.mark.slow)]
)
def test_forward_reverse_and_second_order_agree(name):
    a = arguments()
    one, two = direction(a, 1), direction(a, 2)

    @eqx.filter_jit
    def forward(a, d):
        return jax.jvp(lambda a: score(a, name), (a,), (d,))[1]

    @eqx.filter_jit
    def second(a, d):
        return jax.jvp(lambda a: gradient(a, name), (a,), (d,))[1]

    def dot(p, q):
        return float(sum(np.vdot(p[k], q[k]) for k in p))

    assert float(forward(a, one)) == pytest.approx(dot(gradient(a, name), one), rel=1e-12)
    curvature = dot(second(a, one), two)
    assert curvature == pytest.approx(dot(second(a, two), one), rel=1e-9)
    differences = slope(lambda a: dot(gradient(a, name), two), a, one)
    assert curvature == pytest.approx(differences, rel=1e-7)
    assert abs(curvature) > 1e-3


@pytest.mark.slow
def test_vmap_is_a_loop_and_each_lane_has_its_result():
    strengths = jnp.asarray([0.5, 0.1, jnp.nan, 0.01])

    def one(t):
        solution = argmin(
            PenalisedLeastSquares(jnp.asarray(X), jnp.asarray(Y), L1(t)),
            solver=SOLVER,
            throw=False,
        )
        return of_solution(solution.value), solution.result

    both = jax.jit(jax.value_and_grad(one, has_aux=True))
    (values, results), slopes = jax.jit(jax.vmap(jax.value_and_grad(one, has_aux=True)))(strengths)
    assert results.tolist() == [CONVERGED, CONVERGED, NON_FINITE, CONVERGED]
    for i in (0, 1, 3):
        (value, _), exact = both(strengths[i])
        assert float(values[i]) == pytest.approx(float(value), rel=1e-12)
        assert float(slopes[i]) == pytest.approx(float(exact), rel=1e-10)


def test_a_warm_start_changes_the_cost_and_not_the_answer():
    rng = np.random.default_rng(2)
    A = rng.normal(size=(25, 100))
    b = A[:, :8] @ rng.normal(size=8)
    args = jnp.asarray(A), jnp.asarray(b), L1(jnp.asarray(0.1))
    cold = solve(*args, None, SOLVER.cold(PenalisedLeastSquares(*args)))
    again = solve(*args, None, cold.warm)
    assert int(again.stats["steps"]) == 1 < int(cold.stats["steps"])
    np.testing.assert_allclose(again.value, cold.value, rtol=1e-12, atol=1e-14)
    for junk in (rng.normal(size=100), np.full(100, np.nan)):
        other = solve(*args, None, jnp.asarray(junk))
        np.testing.assert_allclose(other.value, cold.value, rtol=1e-11, atol=1e-13)


def objective(name="l1"):
    return Bilevel(
        inner_problem=lambda a: problem_of(a, name),
        outer_objective=lambda a, w: of_solution(w),
        solver=SOLVER,
    )


@eqx.filter_jit
def certified(a):
    return certify(objective(), a)


def test_the_certificate_bounds_the_error_of_the_gradient():
    a = arguments()
    certificate = certified(a)
    d = direction(a, 3)
    exact = slope(lambda a: value_and_grad(a, "l1")[0], a, d)
    found = float(sum(np.vdot(certificate.gradient[k], d[k]) for k in a))
    assert not bool(certificate.degenerate)
    assert 1e-4 < float(certificate.margin) < 1
    size = float(jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(certificate.gradient))))
    assert float(certificate.error_bound) < 1e-11 * size
    assert abs(found - exact) < 1e-8 * size


def tie(times=1.0):
    """A strength at which a feature is just about to enter, so many times."""
    a = arguments()
    w = np.asarray(solve(a["rows"], a["targets"], L1(a["strength"]), a["weights"]).value)
    off = int(np.flatnonzero(w == 0)[0])
    at = abs((WEIGHTS * (X @ w - Y)) @ X[:, off])
    return a | {"strength": a["strength"].at[off].set(times * at)}


def test_the_margin_is_in_units_of_the_weighted_lengths_of_column_and_targets():
    a = tie(1.001)
    off = int(np.argmax(a["strength"] != STRENGTHS))
    lengths = np.sqrt((WEIGHTS @ X[:, off] ** 2) * (WEIGHTS @ Y**2))
    beyond = float(a["strength"][off]) * (1 - 1 / 1.001)
    np.testing.assert_allclose(certified(a).margin, beyond / lengths, rtol=1e-9)


def test_a_feature_about_to_enter_is_reported():
    certificate = certified(tie())
    assert bool(certificate.degenerate)
    assert float(certificate.error_bound) == np.inf


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_duplicated_feature_is_reported(sign):
    a = arguments()
    w = np.asarray(solve(a["rows"], a["targets"], L1(a["strength"]), a["weights"]).value)
    on, off = int(np.flatnonzero(w != 0)[0]), int(np.flatnonzero(w == 0)[0])
    rows = a["rows"].at[:, off].set(sign * a["rows"][:, on])
    strength = a["strength"].at[off].set(a["strength"][on])
    certificate = certified(a | {"rows": rows, "strength": strength})
    assert bool(certificate.degenerate)


def test_nothing_on_the_support_is_a_regular_solution_with_zero_gradient():
    a = arguments() | {"strength": jnp.full(FEATURES, 100.0)}
    certificate = certified(a)
    assert not bool(certificate.degenerate)
    assert bool(certificate.zero)
    assert all(float(jnp.max(jnp.abs(g))) == 0 for g in jax.tree.leaves(certificate.gradient))


@pytest.mark.parametrize("penalised", [True, False])
def test_a_category_its_complement_and_an_intercept_behind_them(penalised):
    """Something leaves the face if it may: with nothing to pay, it is left as it is, and finite."""
    one = (np.arange(ROWS) % 3 == 0).astype(float)
    rows = np.column_stack([one, 1 - one, X[:, :3], np.ones(ROWS)])
    y = Y + 2 * one + 3
    strength = np.array([0.05, 0.05, 0.05, 0.05, 0.05, 0]) * np.array([*[penalised] * 2, *[1] * 4])
    solution = solve(jnp.asarray(rows), jnp.asarray(y), L1(jnp.asarray(strength)))
    w, share = np.asarray(solution.value), np.full(ROWS, 1 / ROWS)
    assert int(solution.result) == CONVERGED
    assert np.max(np.abs(w)) < 100
    assert violation(rows, y, -strength, strength, 0, share, w) < 1e-12
    rank = np.linalg.matrix_rank(rows[:, w != 0])
    assert rank == np.count_nonzero(w) - (0 if penalised else 1)


def test_a_feature_of_zeros_stays_out():
    rows = jnp.asarray(X).at[:, 1].set(0)
    solution = solve(rows, jnp.asarray(Y), L1(jnp.asarray(0.2)))
    assert int(solution.result) == CONVERGED
    assert float(solution.value[1]) == 0


def test_a_coefficient_without_a_kink_is_free_at_zero_too():
    """Two rows of their own, with targets zero: it is exactly zero, and moves with them."""
    a = arguments()
    rows = X.copy()
    rows[:2], rows[2:, 0] = 0, 0
    rows[:2, 0] = 2.0, -0.5
    a |= {"rows": jnp.asarray(rows), "targets": a["targets"].at[:2].set(0)}
    moves = WEIGHTS[:2] * rows[:2, 0] / (WEIGHTS[:2] @ rows[:2, 0] ** 2)
    found = gradient(a, "free_features")["targets"][:2]
    np.testing.assert_allclose(found, moves * np.cos(float(GOAL[0])), rtol=1e-12)


def test_failures_are_values():
    bad = solve(jnp.asarray(X).at[3, 3].set(jnp.nan), jnp.asarray(Y), L1(jnp.asarray(0.2)))
    assert int(bad.result) == NON_FINITE
    problem = PenalisedLeastSquares(jnp.asarray(X), jnp.asarray(Y), L1(jnp.asarray(0.05)))
    hasty = argmin(problem, solver=WorkingSet(max_updates=1), throw=False)
    assert int(hasty.result) in (ACTIVE_SET, CONVERGED)
    few = argmin(problem, solver=WorkingSet(max_rounds=1, max_updates=1), throw=False)
    assert int(few.result) == ACTIVE_SET


def test_single_precision_stays_single():
    solution = solve(
        jnp.asarray(X, jnp.float32),
        jnp.asarray(Y, jnp.float32),
        L1(jnp.asarray(0.2, jnp.float32)),
    )
    exact = solve(jnp.asarray(X), jnp.asarray(Y), L1(jnp.asarray(0.2)))
    assert solution.value.dtype == jnp.float32
    assert int(solution.result) == CONVERGED
    np.testing.assert_allclose(solution.value, exact.value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"targets": jnp.zeros(3)}, "rows: got shape"),
        ({"weights": jnp.zeros(3)}, "weights: got shape"),
        ({"penalty": 0.1}, "penalty: got float"),
    ],
)
def test_bad_problems_are_refused(change, sentence):
    parts = {"rows": jnp.asarray(X), "targets": jnp.asarray(Y), "penalty": L1(0.1)}
    with pytest.raises(ValueError, match=sentence):
        PenalisedLeastSquares(**(parts | change))


def test_a_strength_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="strength: got shape"):
        solve(jnp.asarray(X), jnp.asarray(Y), L1(jnp.ones(3)))
