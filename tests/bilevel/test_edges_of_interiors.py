"""Parts of interior points and of penalised solvers by themselves: factors, barriers, scales."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel.penalties import L1, Box, ElasticNet, GroupL1, NonNegative
from bilevel.problems import QP, BoxQP, Composite, Constrained, PenalisedLeastSquares
from bilevel.results import CONVERGED, MAX_STEPS, NON_FINITE
from bilevel.solvers import FISTA, PrimalDual, Relaxed, WorkingSet
from bilevel.solvers.constrained import _barrier, _kkt_solver
from bilevel.solvers.constrained._barrier import Errors, Iterate
from bilevel.solvers.constrained._kkt import Flat, Local, Units, factorise, units
from bilevel.solvers.sparse._support import Support
from bilevel.solvers.sparse.fista import Face, _metric, _scaled_slack
from bilevel.solvers.sparse.working_set import _sparse

RNG = np.random.default_rng(6)
H = np.diag([1.0, 2.0, 3.0, -1.0])
J = np.array([[0, 0, 0, 1.0], [1, 2, -1, 0.5], [3, -1, 0, 4]])
factor = jax.jit(factorise)


def test_a_factor_solves_its_system_with_and_without_slack_in_its_rows() -> None:
    """Of rows of any length; one of them takes the direction in which the matrix is negative."""
    a, b, D = RNG.normal(size=4), RNG.normal(size=3), np.array([0, 0.5, 2.0])
    made = factor(H, J, D)
    x, y = jax.jit(lambda made, a, b: made.solve(a, b))(made, a, b)
    np.testing.assert_allclose(H @ x + J.T @ y, a, atol=1e-9)
    np.testing.assert_allclose(J @ x - D * y, b, atol=1e-9)
    assert bool(made.curved)
    assert bool(made.independent)


@pytest.mark.parametrize(
    ("rows", "D", "curved", "independent"),
    [
        (J * [1, 1, 1, 0] + [[0, 0, 0, 1], [0] * 4, [0] * 4], (4.0, 0.5, 2.0), False, True),
        (J[[0, 1, 1]], (0.0, 0.0, 0.0), True, False),
        (J[[0, 1, 1]], (0.0, 0.0, 1.0), True, True),
    ],
)
def test_a_factor_tells_what_is_singular(rows, D, curved, independent) -> None:
    made = factor(H, rows, np.array(D))
    assert (bool(made.curved), bool(made.independent)) == (curved, independent)


def iterate(**changes) -> Iterate:
    """Of two unknowns, one equality and two inequalities."""
    numbers = {
        "x": [0.0, 0.0], "s": [0.5, 2.0], "y": [3.0, 0.4, 0.1], "anchor": [1.0, -0.2, 0.3],
        "mu": 0.1, "rho": 0.5, "unmet": 4.0, "delta": 0.0, "boost": 0.0,
    }  # fmt: skip
    parts = {name: jnp.asarray(part) for name, part in (numbers | changes).items()}
    return Iterate(**parts, stalls=jnp.int32(0))


def local(c) -> Local:
    rows = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    return Local(jnp.zeros(()), jnp.asarray(c), jnp.array([0.2, -0.3]), rows, jnp.eye(2))


def test_slacks_minimise_the_merit_function() -> None:
    it, g = iterate(), np.array([-3.0, 2.0])
    s = np.asarray(jax.jit(_barrier._slacks)(it, jnp.asarray(g)))
    assert np.all(s > 0)
    slope = -0.1 / s + np.array([-0.2, 0.3]) + (g + s) / 0.5
    np.testing.assert_allclose(slope, 0, atol=1e-12)


def test_errors_of_a_barrier_problem_by_hand() -> None:
    c = np.array([0.3, -0.4, -2.5])
    left = jax.jit(_barrier.errors)(local(c), iterate(), jnp.zeros(2))
    excess = c + np.array([0, 0.5, 2.0])
    dual = np.abs(np.array([0.2, -0.3]) + np.array([3.1, 0.5]))
    np.testing.assert_allclose(left.total, np.max([*dual, *np.abs(excess), 0.5 * 0.4, 2 * 0.1]))
    small = iterate(y=[-0.3, 0.2, 0.1], anchor=[5.0, -0.2, 0.3])
    left = jax.jit(_barrier.errors)(local(c), small, jnp.zeros(2))
    pull = excess + 0.5 * np.array([5.3, -0.4, 0.2])
    np.testing.assert_allclose(left.barrier, np.max(np.abs(pull)))
    even = iterate(s=[9.0, 2.0], y=[-0.3, 0.2, 0.1], anchor=[-0.3, 0.2, 0.1])
    left = jax.jit(_barrier.errors)(local([0.0, -9.0, -2.0]), even, jnp.zeros(2))
    np.testing.assert_allclose((left.total, left.barrier), (9 * 0.2, 9 * 0.2 - 0.1))


OPPOSED = jnp.array([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]])


def test_a_point_is_infeasible_where_nothing_lessens_the_violation() -> None:
    """Of two inequalities against one another, as nearly as rounding, or after many steps a good
    deal less nearly; one that holds does not count.
    """

    @jax.jit
    def infeasible(c, turn, stalls):
        at = eqx.tree_at(lambda it: it.stalls, iterate(), stalls)
        rows = OPPOSED.at[1, 1].set(turn)
        return _barrier.errors(dataclasses.replace(local(c), J=rows), at, jnp.zeros(2)).infeasible

    opposed, holds = jnp.array([0.0, 1, 1]), jnp.array([0.0, 1, -1])
    few, many = jnp.int32(0), jnp.int32(_barrier.PATIENCE + 1)
    for c, turn, stalls, expected in (
        (opposed, 1e-7, few, True),
        (opposed, 1e-5, few, False),
        (opposed, 1e-5, many, True),
        (opposed, 1e-3, many, False),
        (holds, 0.0, few, False),
        (-opposed, 0.0, few, False),
    ):
        assert bool(infeasible(c, jnp.asarray(turn), stalls)) is expected


def test_a_point_is_unbounded_where_it_is_far_and_as_good_as_feasible() -> None:
    errors = jax.jit(_barrier.errors)
    for far, c, expected in ((1e14, 0.0, True), (1e14, 1e13, False), (1e11, 0.0, False)):
        left = errors(local([c, -0.5, -2.0]), iterate(x=[far, 0.0]), jnp.zeros(2))
        assert bool(left.unbounded) is expected
        assert bool(left.finite)
    nan = dataclasses.replace(local([0.0, -0.5, -2.0]), cost=jnp.array(jnp.nan))
    assert not bool(errors(nan, iterate(), jnp.zeros(2)).finite)


def test_large_multipliers_allow_for_terms_that_cancel() -> None:
    """One of a thousand hundreds, of three: three times three hundred more."""
    it = iterate(y=[9e4, 0.0, 0.0], anchor=[9e4, 0.0, 0.0])
    left = jax.jit(_barrier.errors)(local([0.0, -0.5, -2.0]), it, jnp.zeros(2))
    np.testing.assert_allclose(left.total, (9e4 + 0.2) / 300)


def test_the_first_iterate_and_the_scales_of_a_point_by_hand() -> None:
    c = np.array([0.3, -0.4, 2.5])
    at = local(c)
    begun = _barrier.begin(at, iterate())
    np.testing.assert_allclose(begun.s, [0.4, 0.1])
    np.testing.assert_allclose(begun.y, [0, 0.25, 1])
    np.testing.assert_allclose(begun.anchor, begun.y)
    np.testing.assert_allclose(begun.unmet, 2.6)
    scale = _barrier.scales(at)
    np.testing.assert_allclose(scale.cost, 1)  # the curvature is above the slope
    np.testing.assert_allclose(scale.rows, [1, 1, 0.5**0.5])


def test_units_of_a_problem_by_hand() -> None:
    """Of curvatures 4 and 64 with slopes of 2 and 24, which are about one and three lengths away;
    a constraint that holds adds nothing, and one that does not its distance.
    """

    def cost(x, room):
        del room
        return 0.5 * (4 * x[0] ** 2 + 64 * x[1] ** 2) + 2 * x[0] + 24 * x[1]

    def limits(x, room):
        return x[:1] * 10 - room

    @jax.jit
    def of(room):
        return units(Constrained(cost, jnp.zeros(2), room, inequalities=limits))

    found = of(jnp.array(1e6))
    np.testing.assert_allclose(found.x, [2, 0.5])  # 3 / 2 and 3 / 8, as powers of two
    np.testing.assert_allclose((found.length, found.slope), (1, 9))
    found = of(jnp.array(-40.0))  # 40 away by rows of 10 / 2
    np.testing.assert_allclose(found.x, [4, 1])
    np.testing.assert_allclose(found.slope, 64)


def test_units_of_a_box_are_those_of_its_matrix_but_for_what_is_pinned() -> None:
    ends = jnp.array([0.0, 0.0]), jnp.array([1.0, 0.0])
    found = units(BoxQP(jnp.diag(jnp.array([1 / 16, 2.0**40])), jnp.array([-3.0, 1.0]), *ends))
    np.testing.assert_allclose(found.x, [4, 1])
    np.testing.assert_allclose((found.length, found.slope), (12, 12))


def test_margins_and_conditions_of_inequalities_by_hand() -> None:
    g, lam = jnp.array([-4.0, 4.0, 0.0]), jnp.array([5.0, -5.0, 0.0])
    n, none = jnp.ones(3), jnp.zeros(3, bool)
    face: Any = SimpleNamespace(active=jnp.array([True, False, False]), force=10 * n, length=2 * n)
    np.testing.assert_allclose(PrimalDual().margin(g, lam, face), [0.5, -2, 0])
    relaxed = Relaxed(mu=0.5)
    np.testing.assert_array_equal(relaxed.margin(g, jnp.abs(lam), face), [np.inf, -np.inf, -np.inf])
    rows = relaxed.rows(g, lam, none)
    np.testing.assert_array_equal(rows.keep, True)
    np.testing.assert_allclose(rows.residual, [-3.9, 4.5, 0.5])
    np.testing.assert_allclose(rows.D, [0.02, 0.5, 0.5])


@pytest.mark.parametrize(
    ("error", "excess", "over", "better"),
    [(0.9, 1.9, True, True), (0.9, 2.1, True, False), (1.1, 0.0, False, False)],
)
def test_a_barrier_is_lowered_once_it_is_reached(error, excess, over, better) -> None:
    """The multipliers are kept where the constraints have come half as near, too; otherwise what
    they cost is raised.
    """
    it, no = iterate(), jnp.bool_(False)
    left = Errors(jnp.ones(()), jnp.asarray(error), no, no, no)
    tighten = jax.jit(_barrier.tighten)
    after = tighten(local([excess, -0.5, -2.0]), it, left, jnp.asarray(1e-6))
    mu = 0.2 * 0.1 if over else 0.1
    np.testing.assert_allclose(after.mu, mu)
    np.testing.assert_allclose(after.rho, mu * (1 if better else 0.1) if over else 0.5)
    np.testing.assert_array_equal(after.anchor, it.y if better else it.anchor)
    np.testing.assert_allclose(after.unmet, excess if better else 4.0)
    deep = tighten(local([0.0, -0.5, -2.0]), iterate(mu=1e-3), left, jnp.asarray(1e-6))
    if error < 1:
        return
    np.testing.assert_allclose(deep.mu, 1e-3)


def test_lengths_are_measured_by_curvatures_of_which_none_is_zero() -> None:
    def loss(w, curved):
        return 0.5 * jnp.sum(curved * w * w)

    start, curved = jnp.zeros(3), jnp.array([4e6, 1.0, 0.0])
    for penalty, expected in (
        (L1(0.1), [4e6, 1, 4e6 * np.finfo(float).eps]),
        (GroupL1(0.1, (0, 0, 1)), 1),
    ):
        found = _metric(Composite(loss, penalty, start, curved), penalty.flat(start), start)
        np.testing.assert_allclose(found, expected)
    still = Composite(loss, L1(0.1), start, 0 * curved)
    np.testing.assert_array_equal(_metric(still, L1(0.1).flat(start), start), 1)


def test_slacks_are_in_units_of_the_largest_weight_and_the_steepest_slope() -> None:
    penalty, w, slope = L1(1.0).flat(jnp.zeros(3)), jnp.array([4.0, -2, 0]), jnp.array([-1, 1, 0.5])
    face = penalty.face(w)
    for steep, unit in ((0.5, 1.0), (10.0, 10.0)):
        found = _scaled_slack(penalty, w, slope, face, jnp.asarray(steep))
        np.testing.assert_allclose(found, [1, 0.5, 0.5 / unit])
    none = jnp.zeros(3)
    found = _scaled_slack(penalty, none, none, penalty.face(none), jnp.zeros(()))
    np.testing.assert_array_equal(found, 1)

    def loss(w, goal):
        return 0.5 * jnp.sum((w - goal) ** 2)

    problem = Composite(loss, L1(1.0), jnp.full(3, 20.0), w - slope)
    frozen = Face(face, Support(face != 0, None, jnp.eye(3)))
    steepest = np.max(np.abs(20 - np.asarray(w - slope)))
    found = FISTA().slack(problem, w, frozen)
    np.testing.assert_allclose(found, [1, 0.5, 0.5 / steepest])


ROWS = jnp.asarray(RNG.normal(size=(8, 4)))
GOAL = ROWS @ jnp.array([2.0, -1.0, 0.0, 0.0]) + 0.1 * ROWS[:, 2]


def test_some_of_the_features_keep_their_strengths() -> None:
    strengths = jnp.arange(1.0, 5)
    some = jnp.array([3, 1])
    for penalty, low, bend in (
        (ElasticNet(strengths, 10 * strengths), -strengths[some], 10 * strengths[some]),
        (NonNegative(strengths), -np.full(2, np.inf), None),
    ):
        part = _sparse(PenalisedLeastSquares(ROWS, GOAL, penalty)).part(
            ROWS[:, some], lambda a: a[some]
        )
        np.testing.assert_array_equal(part.low, low)
        np.testing.assert_array_equal(part.high, strengths[some])
        if bend is None:
            assert part.bend is None
        else:
            np.testing.assert_array_equal(part.bend, bend)


def test_a_start_below_zero_is_none_where_only_what_is_above_counts() -> None:
    @eqx.filter_jit
    def run(warm, strength):
        return WorkingSet().run(PenalisedLeastSquares(ROWS, GOAL, NonNegative(strength)), warm)

    little = jnp.asarray(0.01)
    cold, below = run(jnp.zeros(4), little), run(jnp.array([1.0, -1.0, 0.0, -3.0]), little)
    assert int(cold.result) == int(below.result) == CONVERGED
    np.testing.assert_allclose(below.unknowns, cold.unknowns, atol=1e-14)
    assert [int(cold.stats[name]) for name in ("rounds", "support")] == [1, 2]
    assert int(run(jnp.zeros(4), jnp.nan * little).result) == NON_FINITE


def test_a_penalised_solve_keeps_what_is_at_a_bound_for_the_next() -> None:
    """Its unknowns there are dummies of its conditions, which are met."""

    def loss(w, goal):
        return 0.5 * jnp.sum((w - goal) ** 2)

    problem = Composite(loss, Box(-1.0, 1.0), jnp.zeros(3), jnp.array([3.0, 0.5, -0.2]))

    @eqx.filter_jit
    def run(most, warm):
        solver = eqx.tree_at(lambda s: s.max_steps, FISTA(), most)
        point = solver.run(problem, warm)
        return point, solver.conditions(problem, point.unknowns, point.frozen)

    point, left = run(jnp.int32(100), problem.start)
    assert (int(point.result), int(point.stats["support"])) == (CONVERGED, 2)
    np.testing.assert_allclose(point.warm, [1, 0.5, -0.2])
    np.testing.assert_allclose(left, 0, atol=1e-14)
    few, _ = run(jnp.int32(3), problem.start)
    assert int(few.stats["steps"]) == 3


def test_what_a_constrained_solve_counts_and_where_the_next_begins(monkeypatch) -> None:
    """In units a thousand times apart. Two updates are enough on the right face, one of them to
    see that it is.
    """
    monkeypatch.setattr(_kkt_solver, "UPDATES", 2)

    @eqx.filter_jit
    def run(most, warm):
        solver = eqx.tree_at(lambda s: s.max_steps, PrimalDual(), most)
        return solver.run(problem, warm)

    problem = QP(
        jnp.diag(jnp.array([1e6, 1.0])), jnp.array([-3e6, -2.0]), G=jnp.eye(2)[:1], h=jnp.ones(1)
    )
    cold = PrimalDual().cold(problem)
    first = run(jnp.int32(200), cold)
    np.testing.assert_allclose(first.unknowns.x, [1, 2], rtol=1e-12)
    assert (int(first.result), int(first.stats["updates"])) == (CONVERGED, 2)
    again = run(jnp.int32(200), first.warm)
    assert [int(again.stats[name]) for name in ("steps", "updates")] == [0, 1]
    # From a wrong face, twice: at the end the constraint is not met where the gradient vanishes.
    known = eqx.tree_at(lambda w: w.known, cold, jnp.bool_(True))
    stopped = run(jnp.int32(0), known)
    assert (int(stopped.result), int(stopped.stats["updates"])) == (MAX_STEPS, 4)
    np.testing.assert_allclose(stopped.stats["residual"], 2, rtol=1e-9)


def test_the_central_path_is_followed_to_its_point_whatever_the_cost_is() -> None:
    """Of c x + x^2 / 2 over x >= 0: c + x = mu / x. A steep cost leaves one step to Newton."""

    @eqx.filter_jit
    def run(q):
        problem = QP(jnp.eye(2), q, G=-jnp.eye(2), h=jnp.zeros(2))
        return Relaxed(mu=0.01).run(problem, Relaxed(mu=0.01).cold(problem))

    for size, most in ((1e-6, 3), (1.0, 3), (1e6, 1)):
        c = size * np.array([1.0, 2.0])
        found = run(jnp.asarray(c))
        assert int(found.result) == CONVERGED
        x = 0.02 / (c + np.sqrt(c * c + 0.04))
        np.testing.assert_allclose(found.unknowns.x, x, rtol=1e-9)
        np.testing.assert_allclose(found.unknowns.lam, 0.01 / x, rtol=1e-9)
        assert int(found.stats["updates"]) <= most


def test_a_problem_in_units_is_the_same_one() -> None:
    one = jnp.ones(())

    class Started(QP):
        def initial(self):
            return jnp.array([3.0, 5.0])

    begun = Started(jnp.eye(2), jnp.array([1.0, -2]), jnp.ones((1, 2)), jnp.ones(1))
    for given in (Units(jnp.array([4.0, 0.5]), one, one), None):
        flat = Flat(begun, given)
        x = np.array([3.0, 5.0]) / (1 if given is None else np.array([4.0, 0.5]))
        np.testing.assert_array_equal(flat.start, x)
        np.testing.assert_allclose(flat.functions(flat.start), [17 - 7, 7, -1])
        assert (flat.p, flat.given, flat.m) == (1, 0, 1)
        np.testing.assert_array_equal(flat.padded(jnp.zeros(0)), [0])
