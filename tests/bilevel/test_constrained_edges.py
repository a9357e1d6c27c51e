"""Constrained problems at their edges: degenerate faces, failures, boxes, the central path."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_constrained import ARRAYS, SOLVER, STENCIL, H, probe, seen, solved, study_qp

from bilevel import Bilevel, Data, SolveError, append, argmin, certify
from bilevel.learners import SVM
from bilevel.problems import BoxQP, Smooth
from bilevel.problems.constrained import Constrained
from bilevel.problems.qp import QP
from bilevel.results import CONVERGED, DEGENERATE, INFEASIBLE, MAX_STEPS, NON_FINITE
from bilevel.solvers import ActiveSet
from bilevel.solvers.constrained.relaxed import Relaxed


def test_without_constraints_it_is_newton():
    value = argmin(QP(ARRAYS["Q"], ARRAYS["q"]), solver=SOLVER).value
    np.testing.assert_allclose(value.x, -np.linalg.solve(ARRAYS["Q"], ARRAYS["q"]), rtol=1e-10)
    assert value.nu.size == value.lam.size == 0


TWO = jnp.eye(2)


def twice(row, h, q=(-3.0, -3.0)):
    """Two inequalities, of which the second repeats, or opposes, the first."""
    G = jnp.stack([jnp.asarray([1.0, 1.0]), row])
    return QP(TWO, jnp.asarray(q), G=G, h=jnp.stack([jnp.ones(()), h]))


@jax.jit
def gradient_of_twice(row, h, max_steps):
    solver = eqx.tree_at(lambda solver: solver.max_steps, SOLVER, max_steps)

    def score(row):
        solution = argmin(twice(row, h), solver=solver, throw=False)
        return jnp.sum(solution.value.lam**2), solution

    return jax.grad(score, has_aux=True)(row)


ONES, ONE = np.ones(2), np.ones(())


def test_a_problem_without_a_solution_says_so_unless_the_steps_are_too_few_to_know():
    results = {s: int(gradient_of_twice(-ONES, -3 * ONE, s)[1].result) for s in (0, 2, 200)}
    assert results == {0: MAX_STEPS, 2: MAX_STEPS, 200: INFEASIBLE}


def test_a_singular_face_has_no_silent_gradient():
    found, solution = gradient_of_twice(ONES, ONE, 200)
    assert int(solution.result) == DEGENERATE
    assert np.all(np.isnan(found))
    np.testing.assert_allclose(solution.value.x, [0.5, 0.5], atol=1e-14)
    with pytest.raises(SolveError, match="degenerate"):
        solution.checked()
    found, solution = gradient_of_twice(-ONES, ONE, 200)  # two sides of a slab: one holds strictly
    assert int(solution.result) == CONVERGED
    assert found.tolist() == [0, 0]


def test_the_certificate_sees_a_face_about_to_change():
    def certified(h):
        objective = Bilevel(
            inner_problem=lambda z: QP(TWO, z, G=TWO, h=jnp.stack([jnp.ones(()), h])),
            outer_objective=lambda z, value: jnp.sum(value.x**2) + jnp.sum(value.lam),
            solver=SOLVER,
        )
        return certify(objective, jnp.asarray([-3.0, -0.5]))

    certified = jax.jit(certified)
    clear, weak = certified(jnp.asarray(2.0)), certified(jnp.asarray(0.5))
    assert not clear.degenerate
    assert clear.error_bound < 1e-13
    np.testing.assert_allclose(clear.gradient, [-1.0, -2 * 0.5 * -1 * -1], atol=1e-12)
    np.testing.assert_allclose(clear.margin, min(2.0 / 4, 1.5 / 2), rtol=0.5)
    assert weak.degenerate
    assert int(weak.result) == DEGENERATE


def test_violations_within_their_tolerance_exchange_no_inequality():
    length, force = jnp.asarray([1e-3, 1e-3, 1e-3]), jnp.asarray([1e-6, 1e-6, 1e-6])
    within, beyond = jnp.asarray([-0.5, 0.0, 0.5]), jnp.asarray([-2.0, 0.0, 2.0])
    for times, changes in ((within, [False] * 3), (beyond, [True, False, False])):
        held = SOLVER.update(0 * length, times * force, jnp.ones(3, bool), (length, force))
        np.testing.assert_array_equal(~held, changes)  # a multiplier below zero
        taken = SOLVER.update(-times * length, 0 * force, jnp.zeros(3, bool), (length, force))
        np.testing.assert_array_equal(taken, changes)  # a constraint above zero


def tree_problem(start, radius):
    def objective(x, args):
        return jnp.sum((x["u"] - args[0]) ** 2) + jnp.sum(x["v"] ** 2)

    return Constrained(
        objective,
        {"u": start, "v": jnp.ones((2, 1), start.dtype)},
        (jnp.asarray([3.0, 4.0], start.dtype), radius),
        equalities=lambda x, args: x["v"][:, 0] - x["u"],
        inequalities=lambda x, args: (x["u"] @ x["u"] - args[1])[None],
    )


@pytest.mark.slow
def test_trees_other_dtypes_and_failures():
    @eqx.filter_jit
    def solve(start, radius):
        return argmin(tree_problem(start, radius), solver=SOLVER, throw=False)

    for dtype, tolerance in ((jnp.float64, 1e-14), (jnp.float32, 1e-6)):
        start, radius = jnp.ones(2, dtype), jnp.ones((), dtype)
        value = solve(start, radius).checked().value
        assert value.x["u"].dtype == dtype
        np.testing.assert_allclose(value.x["v"][:, 0], [0.6, 0.8], rtol=tolerance)
        broken = solve(start, jnp.nan * radius)
        assert int(broken.result) == NON_FINITE
        with pytest.raises(SolveError, match="NaN"):
            broken.checked()


@pytest.mark.parametrize("names", ["Ab", "Gh"])
@pytest.mark.parametrize(
    ("matrix", "vector"),
    [((2, 2), (3,)), ((3, 2), (2,)), ((2, 3), (2,)), ((2, 2), ()), ((2,), (2,))],
)
def test_rows_of_constraints_have_one_bound_each(names, matrix, vector):
    q, pair = jnp.ones(2), ", ".join(names)
    QP(TWO, q, **dict(zip(names, (jnp.ones((3, 2)), jnp.ones(3)), strict=True)))
    with pytest.raises(
        ValueError, match=rf"^{pair}: got shapes {re.escape(f'{matrix} and {vector}')}"
    ):
        QP(TWO, q, **dict(zip(names, (jnp.ones(matrix), jnp.ones(vector)), strict=True)))
    with pytest.raises(ValueError, match=rf"^{pair}: got one of the two"):
        QP(TWO, q, **{names[1]: jnp.ones(2)})


def test_bad_input_says_what_to_do():
    q = jnp.ones(2)
    with pytest.raises(ValueError, match="Q: got shape"):
        QP(jnp.eye(3), q)
    with pytest.raises(ValueError, match="G, h: got shapes"):
        QP(TWO, q, G=jnp.ones((2, 3)), h=q)
    with pytest.raises(ValueError, match="A, b: got one of the two"):
        QP(TWO, q, A=TWO)
    with pytest.raises(ValueError, match="inequalities: returned shape"):
        argmin(Constrained(lambda x, a: x @ x, q, inequalities=lambda x, a: x @ x), solver=SOLVER)
    with pytest.raises(ValueError, match="got Smooth"):
        argmin(Smooth(lambda x, a: x @ x, q), solver=SOLVER)
    with pytest.raises(ValueError, match="mu: got 0"):
        Relaxed(mu=0.0)


def box(seed):
    rng = np.random.default_rng(seed)
    B = rng.normal(size=(6, 6))
    upper = rng.uniform(0.5, 2, size=6)
    lower = np.where(np.arange(6) == 1, -np.inf, 0.0)
    lower[2] = upper[2]  # pinned
    e = rng.normal(size=6)
    b = e @ np.where(np.isfinite(lower), (lower + upper) / 2, 0)
    arrays = B @ B.T, 3 * rng.normal(size=6), lower, upper, e, b
    return BoxQP(*(jnp.asarray(a) for a in arrays))


def test_a_box_is_solved_as_by_active_sets():
    @eqx.filter_jit
    def both(qp):
        return tuple(argmin(qp, solver=solver).value for solver in (SOLVER, ActiveSet()))

    for seed in range(5):
        (x, nu), (true, true_nu) = both(box(seed))
        np.testing.assert_allclose(x, true, atol=1e-11)
        np.testing.assert_allclose(nu, true_nu, atol=1e-10)


@pytest.mark.parametrize("solver", [SOLVER, ActiveSet()], ids=["PrimalDual", "ActiveSet"])
def test_a_pinned_variable_follows_the_bound_that_it_presses_against(solver):
    """Of min x^2 - c x + x u + k u^2 / 2 - k a u with x = 0: the upper one where x would grow,
    c > a; of a `u` of any units.
    """

    @jax.jit
    def slopes(c, k, a):
        def other(lower, upper):
            Q, one = (
                jnp.stack([jnp.asarray([2.0, 1.0]), jnp.stack([jnp.ones(()), k])]),
                jnp.ones(()),
            )
            bounds = (jnp.stack([end, sign * one]) for end, sign in ((lower, -9), (upper, 9)))
            problem = BoxQP(Q, jnp.stack([-c, -k * a]), *bounds)
            return argmin(problem, solver=solver, throw=False).value[0][1]

        return jax.grad(other, (0, 1))(jnp.zeros(()), jnp.zeros(()))

    for c, k, a in ((1.0, 2.0, 0.0), (4.0, 200.0, 1.0), (1.0, 0.02, 0.5), (1.0, 200.0, -1.0)):
        np.testing.assert_allclose(slopes(c, k, a), (0, -1 / k), atol=1e-10)
    for c, k, a in ((-1.0, 2.0, 0.0), (0.5, 200.0, 1.0), (1.0, 0.02, 4.0)):
        np.testing.assert_allclose(slopes(c, k, a), (-1 / k, 0), atol=1e-10)


def test_variables_in_other_units_are_the_same_problem():
    """Solution and derivative are those in units of one, times the units."""

    @jax.jit
    def answers(Q, q, lower, upper, e):
        def solution(q, upper):
            qp = BoxQP(Q, q, lower, upper, e, jnp.asarray(0.3))
            return argmin(qp, solver=SOLVER, throw=False)

        def along(t):
            found = solution(q * (1 + t), upper * (1 + t))
            return found.value[0], found.result

        (value, code), (change, _) = jax.jvp(along, (0.0,), (1.0,))
        return value, change, code

    rng = np.random.default_rng(0)
    Z = rng.normal(size=(6, 8))
    Q, q, e = Z @ Z.T, 3 * rng.normal(size=6), np.sign(rng.normal(size=6))
    lower, upper = -rng.uniform(0.1, 1, 6), rng.uniform(0.1, 1, 6)
    plain = answers(Q, q, lower, upper, e)
    for exponents in (np.linspace(-6, 6, 6), np.linspace(5, -7, 6), np.full(6, -7.0)):
        d = 10**exponents
        found = answers(Q / d / d[:, None], q / d, lower * d, upper * d, e / d)
        assert int(found[2]) == CONVERGED
        np.testing.assert_allclose(found[0] / d, plain[0], rtol=1e-9)
        np.testing.assert_allclose(found[1] / d, plain[1], rtol=1e-8, atol=1e-10)


def test_a_curved_cost_within_a_ball_is_the_same_problem_in_any_unit():
    """A cost k times as curved, with f times the pull, has a solution f / k times as long."""
    rng = np.random.default_rng(7)
    pull, G = jnp.asarray(rng.normal(size=5)), jnp.asarray(rng.normal(size=(4, 5)))
    room = jnp.linalg.norm(pull) * jnp.asarray(10 ** rng.uniform(-2, 0, 4))

    @jax.jit
    def solve(k, f, pull):
        def limits(w, _):
            radius = 0.3 * f / k * jnp.linalg.norm(room)
            return jnp.append(G @ w - f / k * room, w @ w - radius**2)

        def plane(w, _):
            return w[:1] - w[1:2] - 0.1 * f / k

        def score(pull):
            def cost(w, _):
                return k / 2 * w @ w - f * pull @ w

            problem = Constrained(cost, jnp.zeros(5), None, plane, limits)
            solution = argmin(problem, solver=SOLVER, throw=False)
            return jnp.sum(jnp.sin(k / f * solution.value.x)), solution

        (_, solution), slope = jax.value_and_grad(score, has_aux=True)(pull)
        lam = solution.value.lam / jnp.append(jnp.full(4, f), k)
        return k / f * solution.value.x, slope, lam, solution.result

    expected = solve(1.0, 1.0, pull)
    assert int(expected[3]) == CONVERGED
    assert np.sum(np.asarray(expected[2]) > 0.1) == 2, "one plane, and the ball"
    for k, f in ((1e-3, 1.0), (1e9, 1.0), (1.0, 1e-6), (1e5, 1e-5), (1e-3, 1e2), (1e6, 1e6)):
        found = solve(k, f, pull)
        assert int(found[3]) == CONVERGED, (k, f)
        for a, b in zip(found[:3], expected[:3], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_relaxed_kkt_is_differentiated_exactly_and_tends_to_the_solution():
    @eqx.filter_jit
    def slope(mu, q, direction):
        return jax.jvp(lambda q: seen(solved(q, ARRAYS["G"], Relaxed(mu=mu))), (q,), (direction,))

    q, direction = ARRAYS["q"], jnp.asarray(probe(ARRAYS["q"].size, 5))
    _, ours = slope(1e-2, q, direction)
    difference = sum(w * slope(1e-2, q + s * H * direction, direction)[0] for s, w in STENCIL) / H
    np.testing.assert_allclose(ours, difference, rtol=1e-8)
    exact = study_qp([ARRAYS])[0][0]
    gaps = [float(jnp.abs(slope(mu, q, direction)[0] - exact)) for mu in (1e-2, 1e-6)]
    assert 1e-8 < gaps[1] < 1e-3 * gaps[0]


@pytest.mark.slow
def test_relaxed_kkt_gives_a_direction_where_the_gradient_of_an_svm_is_zero():
    rng = np.random.default_rng(0)
    y = np.where(np.arange(10) % 2, 1.0, -1.0)
    data = Data(jnp.asarray(rng.normal(size=(10, 2)) + 2 * y[:, None]), jnp.asarray(y))
    poison = jnp.asarray([[6.0, 6.0]])  # deep inside its own class: no support vector
    learner = SVM(1.0)

    def objective(solver):
        def training(z):
            return learner.training(append(data, z, jnp.ones(1)))

        def outer(z, value):
            model = training(z).trained(value).model
            return jnp.mean(jnp.maximum(0.0, 3 - model.decision(data.x) * data.y) ** 2)

        def inner(z):
            return training(z).problem

        return Bilevel(inner_problem=inner, outer_objective=outer, solver=solver)

    @eqx.filter_jit
    def gradient(solver, z):
        return jax.grad(objective(solver))(z)

    assert not np.any(gradient(ActiveSet(), poison))
    direction = gradient(Relaxed(mu=1e-2), poison)
    assert np.all(np.isfinite(direction))
    assert np.linalg.norm(direction) > 1e-6
