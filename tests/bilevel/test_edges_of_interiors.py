"""Parts of interior points and of penalised solvers by themselves: factors, barriers, scales."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel.penalties import L1, ElasticNet, GroupL1, NonNegative
from bilevel.problems import QP, Composite, PenalisedLeastSquares
from bilevel.results import CONVERGED, MAX_STEPS
from bilevel.solvers import FISTA, PrimalDual, WorkingSet
from bilevel.solvers.constrained import _barrier, _kkt_solver
from bilevel.solvers.constrained._barrier import Errors, Iterate
from bilevel.solvers.constrained._kkt import Local, factorise
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
    even = iterate(y=[-0.3, 8.0, 0.1], anchor=[-0.3, 8.0, 0.1])
    left = jax.jit(_barrier.errors)(local([0.0, -0.5, -2.0]), even, jnp.zeros(2))
    np.testing.assert_allclose(left.barrier, max(0.5 * 8 - 0.1, 0.2 + 8.1 - 8.1, 7.8))


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


def test_rounds_of_two_features_end_where_all_at_once_do() -> None:
    """The third feature is much like the first, and stands before the second: a round is lost. The
    updates of every round count.
    """
    base = np.sqrt(8) * np.linalg.qr(RNG.normal(size=(8, 4)))[0]
    rows = np.stack([base[:, 0], base[:, 1], base @ [0.9, 0, 0.4, 0], 0.1 * base[:, 3]], axis=1)
    rows, goal = jnp.asarray(rows), jnp.asarray(base @ [3.0, 1.0, 0, 0])
    problem = PenalisedLeastSquares(rows, goal, L1(0.2))
    solver = WorkingSet()

    @jax.jit
    def both():
        sparse, cold = _sparse(problem), jnp.zeros(4)
        return solver._at_once(sparse, cold), solver._in_rounds(sparse, cold, 2)

    whole, parts = both()
    np.testing.assert_allclose(parts.w, [2.8, 0.8, 0, 0], rtol=1e-12)
    np.testing.assert_allclose(whole.w, parts.w, atol=1e-12)
    assert (bool(parts.over), int(parts.rounds)) == (True, 2)
    assert int(parts.updates) == 3


def test_a_start_below_zero_is_none_where_only_what_is_above_counts() -> None:
    problem = PenalisedLeastSquares(ROWS, GOAL, NonNegative(0.01))
    run = eqx.filter_jit(lambda warm: WorkingSet().run(problem, warm))
    cold, below = run(jnp.zeros(4)), run(jnp.array([1.0, -1.0, 0.0, -3.0]))
    assert int(cold.result) == int(below.result) == CONVERGED
    np.testing.assert_allclose(below.unknowns, cold.unknowns, atol=1e-14)
    assert [int(cold.stats[name]) for name in ("rounds", "support")] == [1, 2]


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
