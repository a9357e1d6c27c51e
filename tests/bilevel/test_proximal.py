"""Composite problems by FISTA: every penalty against scikit-learn, differences, degeneracy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from central import direction, slope
from sklearn import linear_model

from bilevel import Bilevel, argmin, certify
from bilevel.penalties import L1, Box, ElasticNet, GroupL1, NonNegative
from bilevel.problems.composite import Composite
from bilevel.problems.penalised_least_squares import PenalisedLeastSquares
from bilevel.results import CONVERGED, MAX_STEPS, NON_FINITE
from bilevel.solvers.sparse.fista import FISTA
from bilevel.solvers.sparse.working_set import WorkingSet

ROWS, FEATURES = 20, 6
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, FEATURES)) + 0.5 * RNG.normal(size=(ROWS, 1))
Y = X[:, :2] @ np.array([1.0, -2.0]) + 0.5 * RNG.normal(size=ROWS)
LABELS = np.sign(Y)
WEIGHTS = RNG.uniform(0.5, 1.5, size=ROWS) / ROWS
GOAL = jnp.asarray(RNG.normal(size=FEATURES))
GROUPS = (0, 1, 0, 1, 2, 2)
SOLVER = FISTA()


def squares(w, a):
    return 0.5 * jnp.sum(a["weights"] * (a["rows"] @ w - a["targets"]) ** 2)


def logistic(w, a):
    return jnp.sum(a["weights"] * jnp.logaddexp(0, -a["targets"] * (a["rows"] @ w)))


def data(labels=False):
    targets = jnp.asarray(LABELS if labels else Y)
    return {"rows": jnp.asarray(X), "targets": targets, "weights": jnp.asarray(WEIGHTS)}


# name: loss, penalty of its strengths, strengths
ONES = np.ones(FEATURES)
CASES = {
    "l1": (squares, L1, jnp.asarray(0.2 * ONES + 0.02 * RNG.normal(size=FEATURES))),
    "elastic_net": (squares, lambda s: ElasticNet(s, 0.1 + s * s), jnp.asarray(0.2 * ONES)),
    "group": (squares, lambda s: GroupL1(s, GROUPS), jnp.asarray([0.3, 0.2, 0.35])),
    "non_negative": (squares, NonNegative, jnp.asarray(0.05 * ONES)),
    "box": (squares, lambda s: Box(-s, 2 * s), jnp.asarray(0.3 * ONES)),
    "logistic": (logistic, L1, jnp.asarray(0.05 * ONES)),
}
every_case = pytest.mark.parametrize("name", CASES)


def problem_of(a, name):
    loss, penalty, _ = CASES[name]
    return Composite(loss, penalty(a["strength"]), jnp.zeros(FEATURES), a["data"])


def arguments(name):
    return {"data": data(name == "logistic"), "strength": CASES[name][2]}


def of_solution(w):
    return jnp.sum(jnp.sin(w + GOAL))


@eqx.filter_jit
def solve(a, name, solver=SOLVER):
    return argmin(problem_of(a, name), solver=solver, throw=False)


def score(a, name):
    return of_solution(argmin(problem_of(a, name), solver=SOLVER).value)


@eqx.filter_jit
def value_and_grad(a, name):
    return jax.value_and_grad(score)(a, name)


def gradient(a, name):
    return value_and_grad(a, name)[1]


def dot(p, q):
    return float(sum(np.vdot(x, y) for x, y in zip(*map(jax.tree.leaves, (p, q)), strict=True)))


def with_strength(name, strength, **change):
    """The case with equal weights: scikit-learn's convention. NumPy's arrays have no weak types,
    for which the programs would be compiled again.
    """
    equal = {"weights": jnp.asarray(np.full(ROWS, 1 / ROWS))}
    return {
        "data": data(name == "logistic") | equal | change,
        "strength": jnp.asarray(np.full(CASES[name][2].shape, strength)),
    }


def test_the_lasso_and_the_non_negative_one_are_those_of_scikit_learn():
    for name, positive in (("l1", False), ("non_negative", True)):
        w = solve(with_strength(name, 0.2), name).value
        oracle = linear_model.Lasso(alpha=0.2, fit_intercept=False, positive=positive, tol=1e-14)
        np.testing.assert_allclose(w, oracle.fit(X, Y).coef_, rtol=1e-7, atol=1e-9)
        assert 0 < np.count_nonzero(w) < FEATURES


def test_the_elastic_net_is_that_of_scikit_learn():
    l1, l2 = 0.2, 0.1 + 0.2**2
    w = solve(with_strength("elastic_net", l1), "elastic_net").value
    oracle = linear_model.ElasticNet(
        alpha=l1 + l2, l1_ratio=l1 / (l1 + l2), fit_intercept=False, tol=1e-14
    )
    np.testing.assert_allclose(w, oracle.fit(X, Y).coef_, rtol=1e-7, atol=1e-9)


def test_l1_logistic_regression_is_that_of_scikit_learn():
    strength = 0.05
    w = solve(with_strength("logistic", strength), "logistic").value
    oracle = linear_model.LogisticRegression(
        C=1 / (ROWS * strength), l1_ratio=1, fit_intercept=False, solver="saga", tol=1e-12,
        max_iter=200_000,
    ).fit(X, LABELS)  # fmt: skip
    np.testing.assert_allclose(w, oracle.coef_[0], rtol=1e-5, atol=1e-7)
    assert 0 < np.count_nonzero(w) < FEATURES


@every_case
def test_no_other_point_is_lower(name):
    a = arguments(name)
    solution = solve(a, name)
    assert int(solution.result) == CONVERGED
    loss, _, _ = CASES[name]
    penalty = CASES[name][1](a["strength"]).flat(jnp.zeros(FEATURES))
    w = solution.value
    # A minimiser is what prox maps to itself, whatever the length of the step.
    moved = jax.jit(lambda t: penalty.prox(w - t * jax.grad(loss)(w, a["data"]), t))
    for t in (0.1, 1.0, 10.0):
        np.testing.assert_allclose(moved(t), w, rtol=1e-12, atol=1e-13)
    face = np.asarray(jax.jit(lambda w: penalty.free(penalty.face(w)))(w))
    assert 0 < face.sum() < FEATURES


@every_case
def test_gradients_are_those_of_central_differences_in_every_argument(name):
    a = arguments(name)
    found = gradient(a, name)
    paths, structure = jax.tree.flatten_with_path(a)
    for i, (path, _) in enumerate(paths):
        drawn = jax.tree.leaves(direction(a, i))
        d = jax.tree.unflatten(
            structure, [leaf if j == i else 0 * leaf for j, leaf in enumerate(drawn)]
        )
        scale = float(jnp.linalg.norm(jax.tree.leaves(found)[i]))
        error = abs(dot(found, d) - slope(lambda a: value_and_grad(a, name)[0], a, d))
        assert error <= 1e-8 * max(scale, 1e-3), path
        assert scale > 0


@pytest.mark.parametrize("name", ["group", pytest.param("logistic", marks=pytest.mark.slow)])
def test_forward_reverse_and_second_order_agree(name):
    a = arguments(name)
    one, two = direction(a, 1), direction(a, 2)

    @eqx.filter_jit
    def forward(a, d):
        return jax.jvp(lambda a: score(a, name), (a,), (d,))[1]

    @eqx.filter_jit
    def second(a, d):
        return jax.jvp(lambda a: gradient(a, name), (a,), (d,))[1]

    assert float(forward(a, one)) == pytest.approx(dot(gradient(a, name), one), rel=1e-11)
    curvature = dot(second(a, one), two)
    assert curvature == pytest.approx(dot(second(a, two), one), rel=1e-9)
    assert curvature == pytest.approx(
        slope(lambda a: dot(gradient(a, name), two), a, one), rel=1e-7
    )
    assert abs(curvature) > 1e-3


def test_vmap_is_a_loop_and_each_lane_has_its_result():
    def one(t):
        a = arguments("group")
        problem = problem_of(a | {"strength": t * a["strength"]}, "group")
        solution = argmin(problem, solver=SOLVER, throw=False)
        return of_solution(solution.value), solution.result

    both = jax.jit(jax.value_and_grad(one, has_aux=True))
    factors = jnp.asarray([0.8, 1.3, jnp.nan])
    (values, results), slopes = jax.jit(jax.vmap(jax.value_and_grad(one, has_aux=True)))(factors)
    assert results.tolist() == [CONVERGED, CONVERGED, NON_FINITE]
    for i in range(2):
        (value, _), exact = both(factors[i])
        assert float(values[i]) == pytest.approx(float(value), rel=1e-12)
        assert float(slopes[i]) == pytest.approx(float(exact), rel=1e-10)


def test_closures_and_trees_are_differentiated_and_an_intercept_is_not_penalised():
    start = {"bias": jnp.zeros(()), "weights": jnp.zeros(FEATURES)}

    def fit(z, solver=SOLVER):
        def loss(w, args):
            residual = (jnp.asarray(X) * (1 + z)) @ w["weights"] + w["bias"] - jnp.asarray(Y)
            return 0.5 * jnp.mean(residual**2)

        penalty = L1({"bias": 0.0, "weights": 0.2 + z})
        return argmin(Composite(loss, penalty, start), solver=solver).value

    def value(z):
        w = fit(z)
        return of_solution(w["weights"]) + w["bias"] ** 2, w

    both = jax.jit(jax.value_and_grad(value, has_aux=True))
    z = np.asarray(0.1)
    (_, w), found = both(z)
    wanted = slope(lambda z: both(z)[0][0], z, np.asarray(1.0))
    assert float(found) == pytest.approx(wanted, rel=1e-8)
    oracle = linear_model.Lasso(alpha=0.3, tol=1e-14).fit(1.1 * X, Y)
    np.testing.assert_allclose(w["weights"], oracle.coef_, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(w["bias"], oracle.intercept_, rtol=1e-7)


@eqx.filter_jit
def certified(a, name):
    objective = Bilevel(
        inner_problem=lambda a: problem_of(a, name),
        outer_objective=lambda a, w: of_solution(w),
        solver=SOLVER,
    )
    return certify(objective, a)


@pytest.mark.parametrize("name", ["group", pytest.param("logistic", marks=pytest.mark.slow)])
def test_the_certificate_bounds_the_error_of_the_gradient(name):
    a = arguments(name)
    certificate = certified(a, name)
    d = direction(a, 3)
    size = dot(certificate.gradient, certificate.gradient) ** 0.5
    error = abs(dot(certificate.gradient, d) - slope(lambda a: value_and_grad(a, name)[0], a, d))
    assert not bool(certificate.degenerate)
    assert 1e-4 < float(certificate.margin) < 1
    assert float(certificate.error_bound) < 1e-11 * size
    assert error < 1e-8 * size


def test_a_group_about_to_enter_is_reported():
    a = arguments("group")
    w = np.asarray(solve(a, "group").value)
    groups = np.asarray(GROUPS)
    (out,) = (g for g in range(3) if not np.any(w[groups == g]))
    at = np.linalg.norm(((WEIGHTS * (X @ w - Y)) @ X)[groups == out])
    certificate = certified(a | {"strength": a["strength"].at[out].set(at)}, "group")
    assert bool(certificate.degenerate)
    assert float(certificate.error_bound) == np.inf


@pytest.mark.slow
def test_a_duplicated_feature_is_reported():
    a = arguments("logistic")
    w = np.asarray(solve(a, "logistic").value)
    on, off = int(np.flatnonzero(w != 0)[0]), int(np.flatnonzero(w == 0)[0])
    rows = a["data"]["rows"]
    twins = a["data"] | {"rows": rows.at[:, off].set(rows[:, on])}
    certificate = certified(a | {"data": twins}, "logistic")
    assert bool(certificate.degenerate)


def test_the_two_solvers_agree():
    a = arguments("l1")
    parts = a["data"]
    problem = PenalisedLeastSquares(
        parts["rows"], parts["targets"], L1(a["strength"]), parts["weights"]
    )
    exact = argmin(problem, solver=WorkingSet()).value
    np.testing.assert_allclose(solve(a, "l1").value, exact, rtol=1e-12, atol=1e-14)


def test_collinear_features_are_solved():
    """One-hot columns, centred: along the face the Hessian is singular."""
    found = []
    for seed in range(8):
        some = np.random.default_rng(seed).integers(0, 2, (ROWS, FEATURES // 2))
        rows = np.concatenate([some, 1 - some], axis=1).astype(float)
        solution = solve(with_strength("l1", 0.03, rows=jnp.asarray(rows - rows.mean(0))), "l1")
        found.append(int(solution.result))
    assert found.count(CONVERGED) >= 7, found


def test_too_few_steps_and_nan_are_reported():
    a = arguments("l1")
    assert int(solve(a, "l1", FISTA(max_steps=1)).result) == MAX_STEPS
    broken = a | {"data": a["data"] | {"targets": jnp.full(ROWS, jnp.nan)}}
    assert int(solve(broken, "l1").result) == NON_FINITE


def test_a_warm_start_changes_the_cost_and_not_the_answer():
    a = arguments("logistic")
    first, problem = solve(a, "logistic"), problem_of(a, "logistic")
    again = argmin(problem, first.warm, solver=SOLVER)
    assert int(again.stats["steps"]) <= int(first.stats["steps"])
    np.testing.assert_allclose(again.value, first.value, rtol=1e-11, atol=1e-13)


BENT = np.linspace(0.1, 0.4, 9)
SEPARABLE = {
    "l1": L1(BENT),
    "elastic_net": ElasticNet(BENT, 0.5),
    "non_negative": NonNegative(BENT),
    "box": Box(np.where(BENT > 0.3, -np.inf, -BENT), np.where(BENT < 0.15, -BENT, 0.5)),
}


@eqx.filter_jit
def nearest(penalty, v):
    """The minimiser w of 1/2 |w - v|^2 + p(w), its face, the slack and what is free there."""
    w = penalty.prox(v, jnp.ones(()))
    face = penalty.face(w)
    return w, face, penalty.slack(w, w - v, face), penalty.free(face)


@pytest.mark.parametrize("name", SEPARABLE)
def test_the_slack_is_the_distance_to_the_next_face(name):
    """At minimisers of 1/2 |w - v|^2 + p(w): with w or v moved by less than the slack the face is
    the same, by more it is another.
    """
    rng, faces = np.random.default_rng(0), set()
    penalty = SEPARABLE[name].flat(jnp.zeros(BENT.size))
    face_at = eqx.filter_jit(penalty.face)
    for _ in range(4):
        v = rng.normal(size=BENT.size)
        w, face, (lengths, forces), free = jax.tree.map(np.asarray, nearest(penalty, v))
        assert np.all((lengths >= 0) & (forces >= 0))
        assert np.all(np.isinf(np.where(free, forces, lengths)))
        faces |= set(face[np.isfinite(np.where(free, lengths, forces))])
        for slack, moved in (
            (lengths, lambda by, w=w: face_at(w + by)),
            (forces, lambda by, v=v: nearest(penalty, v + by)[1]),
        ):
            known = np.isfinite(slack)
            by = np.where(known, slack, 0)
            same = [np.asarray(moved(t * by)) == face for t in (-1.01, -0.99, 0.99, 1.01)]
            assert np.all(same[1] & same[2] & ~(same[0] & same[3]), where=known)
    assert faces == {"non_negative": {0, 1}}.get(name, {-1, 0, 1})


def test_the_slack_of_a_group_is_the_length_it_can_lose_or_gain():
    """As above, of groups: one that is not zero stays until its length is lost, another enters
    when its part of v has grown by the slack; a group without strength never changes.
    """
    groups, strength = np.array([0, 0, 1, 1, 1, 2, 2, 3, 3]), jnp.array([0.5, 1.5, 1.0, 0.0])
    penalty = GroupL1(strength, groups).flat(jnp.zeros(groups.size))
    seen = set()
    for seed in range(4):
        v = np.random.default_rng(seed).normal(size=groups.size)
        w, face, (inside, outside), _ = jax.tree.map(np.asarray, nearest(penalty, v))
        for g in range(3):
            mine = groups == g
            seen.add(bool(face[g]))
            if face[g]:
                np.testing.assert_allclose(inside[g], np.linalg.norm(w[mine]), rtol=1e-14)
                assert np.isinf(outside[g])
                continue
            assert np.isinf(inside[g])
            assert outside[g] > 0
            for share, enters in ((0.99, False), (1.01, True)):
                more = share * outside[g] * v[mine] / np.linalg.norm(v[mine])
                moved = v.copy()
                moved[mine] += more
                assert bool(nearest(penalty, moved)[1][g]) is enters
        assert face[3]
        assert np.isinf(inside[3])
        assert np.isinf(outside[3])
    assert seen == {False, True}


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: L1(jnp.ones(3)), "strength: got shape"),
        (lambda: L1({"weights": 1.0}), "strength: got a tree"),
        (lambda: L1(-0.1), "strength: got -0.1, expected finite numbers >= 0"),
        (lambda: NonNegative(-0.1), "strength: got -0.1, expected finite numbers >= 0"),
        (lambda: GroupL1(-0.1, GROUPS), "strength: got -0.1, expected finite numbers >= 0"),
        (lambda: GroupL1(np.inf, GROUPS), "strength: got inf, expected finite numbers >= 0"),
        (lambda: ElasticNet(0.1, -0.1), "l2: got -0.1, expected finite numbers >= 0"),
        (lambda: GroupL1(0.1, (0, 1)), "groups: got 2, expected 6"),
        (lambda: GroupL1(jnp.ones(2), GROUPS), "strength: got shape"),
        (lambda: GroupL1(0.1, np.array([0.5, 1])), "groups: got an array of float64"),
        (lambda: Box(0.0, jnp.ones(3)), "upper: got shape"),
    ],
)
def test_penalties_that_do_not_fit_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make().flat(jnp.zeros(FEATURES))
