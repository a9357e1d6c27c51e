"""Edges of solvers: what was asked of them, what they count, and parts by themselves."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel.linear import CG, GMRES, Factor, Neumann
from bilevel.linear.cg import conjugate_gradients
from bilevel.penalties import L1, Box, ElasticNet, GroupL1
from bilevel.problems import BoxQP, Product
from bilevel.results import CONVERGED, INFEASIBLE, NON_FINITE
from bilevel.solvers import ActiveSet, Anderson, Each, Newton, Picard
from bilevel.solvers.qp import _face, _shrinking
from bilevel.solvers.qp._face import Sets
from bilevel.solvers.qp._interior_point import Inside, _newton
from bilevel.solvers.qp.active_set import _idled, _infeasible, _within
from bilevel.solvers.sparse import _support

RNG = np.random.default_rng(3)
CURVED = jnp.linspace(1, 2, 12)  # twelve eigenvalues: as many steps to the end
ONES = jnp.ones(12)
NO, YES = jnp.zeros(3, bool), jnp.ones(3, bool)


def product(v):
    return CURVED * v


def same(v):
    return v


@pytest.mark.parametrize("solver", [CG, GMRES])
def test_an_answer_as_rough_as_was_asked_for_is_no_failure(solver) -> None:
    """Whatever the size of the right-hand side."""
    rough = solver(tol=1e-3, precondition=False)
    solve = jax.jit(lambda rhs: rough.solve(product, same, rhs))
    found = solve(ONES)
    left = np.linalg.norm(ONES - product(found)) / np.sqrt(12)
    assert 1e-6 < left < 1e-2
    for size in (1e-6, 1e6):
        np.testing.assert_allclose(solve(size * ONES) / size, found, rtol=1e-9)


@pytest.mark.parametrize(("solver", "operator"), [(CG, product), (GMRES, jnp.roll)])
def test_a_system_is_solved_in_whatever_unit_it_is(solver, operator) -> None:
    """Also if fewer steps than there are entries make no progress, as for a cyclic shift."""
    plain, turned = solver(precondition=False), {"shift": 1} if solver is GMRES else {}
    rhs = jnp.arange(12.0) ** 2
    solve = jax.jit(
        lambda size, rhs: plain.solve(lambda v: size * operator(v, **turned), same, rhs)
    )
    expected = np.roll(rhs, -1) if turned else rhs / CURVED
    for size in (1e-25, 1.0, 1e25):
        np.testing.assert_allclose(size * solve(size, rhs), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(solve(1.0, 0 * rhs), 0)
    assert np.all(np.isnan(solve(0.0, rhs)))


def test_the_steps_of_conjugate_gradients_are_counted_through() -> None:
    """As many as allowed, restarts or not: the textbook's iterate after four."""
    found, _ = jax.jit(lambda rhs: conjugate_gradients(product, rhs, 1e-12, 4))(ONES)
    x, r = np.zeros(12), np.ones(12)
    p = r
    for _ in range(4):
        t = r @ r / (p @ product(p))
        x, after = x + t * p, r - t * product(p)
        r, p = after, after + after @ after / (r @ r) * p
    np.testing.assert_allclose(found, x, rtol=1e-9)


def test_a_restart_of_conjugate_gradients_adds_to_what_was_found() -> None:
    """Wherever it is stopped: the residual is lost to rounding, and measured again."""
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    A, rhs = jnp.asarray(turn @ np.diag(np.logspace(0, 8, 6)) @ turn.T), jnp.ones(6)

    @jax.jit
    def left(most):
        found, positive = conjugate_gradients(lambda v: A @ v, rhs, 1e-12, most)
        return jnp.linalg.norm(rhs - A @ found), positive

    sizes = [float(left(jnp.int32(most))[0]) for most in range(12, 36)]
    assert max(sizes) < 1e-6
    assert left(jnp.int32(36))[1]
    assert float(left(jnp.int32(3))[0]) > 0.1


def test_one_term_of_a_neumann_series_is_the_step_by_the_largest_eigenvalue() -> None:
    found = Neumann(1).solve(lambda v: jnp.array([2.0, 1.0, 1.0]) * v, same, jnp.ones(3))
    np.testing.assert_allclose(found, 0.5, rtol=1e-3)


@pytest.mark.parametrize(("most", "solved"), [(1, False), (2, True)])
def test_refinements_are_those_after_the_first_solve(most, solved) -> None:
    """Each leaves a thousandth: two of them are enough, one is not."""
    found = Factor(most).solve(same, lambda r: 1.001 * r, jnp.ones(2))
    assert np.all(np.isfinite(found)) == solved


def test_strengths_are_looked_at_in_every_leaf_and_of_both_parts() -> None:
    with pytest.raises(ValueError, match=r"^l1: got -0.1"):
        ElasticNet(-0.1, 0.1)
    with pytest.raises(ValueError, match=r"^strength: got -0.2"):
        L1({"a": 0.1, "b": -0.2})
    pinned = Box(0.5, 0.5).flat(jnp.zeros(2))
    np.testing.assert_array_equal(pinned.prox(jnp.array([-1.0, 1.0]), jnp.ones(())), 0.5)


def test_a_group_at_zero_is_free_if_it_has_no_strength() -> None:
    penalty = GroupL1(jnp.array([0.0, 1.0]), (0, 0, 1)).flat(jnp.zeros(3))
    np.testing.assert_array_equal(penalty.face(jnp.zeros(3)), [True, False])


@pytest.mark.parametrize("size", [1e-8, 1e8])
def test_a_matrix_is_indefinite_by_its_own_size_and_precision(size) -> None:
    def make(least, dtype: Any = float):
        return BoxQP(
            np.diag([size, least * size]).astype(dtype), *np.array([[0, 0], [0, 0], [1, 1]], dtype)
        )

    make(-1e-8)
    make(-1e-5, np.float32)
    for least, dtype in ((-1e-4, float), (-1e-2, np.float32)):
        with pytest.raises(ValueError, match="Q: got an indefinite matrix"):
            make(least, dtype)


def test_bounds_that_cross_are_told_by_the_first_and_how_many_more() -> None:
    zeros = np.zeros(4)
    with pytest.raises(ValueError, match=r"^lower: exceeds upper at index 1 \(and 1 more\)"):
        BoxQP(np.eye(4), zeros, np.array([0, 2, 0, 3.0]), np.ones(4))
    with pytest.raises(ValueError, match=r"^e: got shape \(3,\), expected \(4,\)"):
        BoxQP(np.eye(4), zeros, zeros, zeros, np.ones(3), 0.0)


def test_a_stack_has_the_kind_of_its_solver() -> None:
    kinds = [
        (each.symmetric, each.converges) for each in map(Each, (Newton(), Anderson(), Picard(1)))
    ]
    assert kinds == [(True, True), (False, True), (False, False)]


def box(q, lower, upper, e, b):
    """Of the identity, with numbers of one type, for one program."""
    rows = (jnp.asarray(np.asarray(row, float)) for row in (q, lower, upper, e, b))
    return BoxQP(jnp.eye(3), *rows)


@eqx.filter_jit
def solved(qp, lower, upper):
    return ActiveSet().run(qp, Sets(lower, upper))


E = (1.0, -1.0, 0.0)
FIRST = box((-0.5, -2, 1), (0, 0, 0), (1, 1, 1), E, -0.5)


def test_an_active_set_tells_what_is_free_and_how_it_came_there() -> None:
    """At (0.5, 1, 0): the first has come to what the equality asks for."""
    point = solved(FIRST, NO, NO)
    assert int(point.result) == CONVERGED
    assert int(point.stats["free"]) == 1
    assert int(point.stats["interior_steps"]) == 0
    np.testing.assert_array_equal([point.warm.lower, point.warm.upper], [[0, 0, 1], [0, 1, 0]])


def test_a_bound_that_has_gone_or_is_pinned_now_is_no_place_to_break_down() -> None:
    """From the sets before: the second was at its upper bound."""
    at = solved(FIRST, NO, NO).warm
    gone = solved(box((-0.5, -2, 1), (0, 0, 0), (np.inf, np.inf, 1), E, -0.5), at.lower, at.upper)
    np.testing.assert_allclose(gone.unknowns.x, [1, 1.5, 0])
    assert int(gone.stats["interior_steps"]) == 0
    pinned = solved(box((-0.5, -2, 1), (0, 1, 0), (1, 1, 1), E, -0.5), at.lower, at.upper)
    assert int(pinned.result) == CONVERGED
    assert int(pinned.stats["steps"]) == 1


def test_what_is_free_is_inside_its_bounds_to_the_last_digit() -> None:
    for sign in (1, -1):
        bounds = np.sort([0, sign * 0.3])
        lower, upper = np.array([bounds, [0, 1], [0, 1]]).T
        point = solved(box((-sign * (0.1 + 0.2), -0.5, -0.5), lower, upper, (0, 1, -1), 0), NO, NO)
        assert int(point.result) == CONVERGED
        assert int(point.stats["free"]) == 3
        assert float(point.unknowns.x[0]) == sign * 0.3 != sign * (0.1 + 0.2)


def test_a_problem_without_a_point_is_infeasible_whatever_else_is_wrong() -> None:
    nan = box((np.nan, -2, 1), (0, 0, 0), (1, 1, 1), E, 9)
    assert int(solved(nan, NO, NO).result) == INFEASIBLE


def test_a_bound_that_is_no_number_has_no_solution() -> None:
    for lower, upper in ((np.nan, 1), (0, np.nan)):
        qp = box((-0.5, -2, 1), (0, 0, lower), (1, 1, upper), E, -0.5)
        assert int(solved(qp, NO, NO).result) == NON_FINITE


def test_infeasible_is_beyond_the_rounding_of_large_sums() -> None:
    most = np.array([1e5, 0, 0])
    for beyond, wrong in ((1e-9, False), (1e-3, True)):
        assert bool(_infeasible(box(E, (0, 0, 0), most, E, 1e5 + beyond))) is wrong


def test_the_steps_of_all_parts_that_were_tried_are_counted(monkeypatch) -> None:
    """Eight parts that end nowhere, and the whole."""

    def nowhere(qp, scales, most):
        del scales, most
        n = qp.q.size
        none = jnp.zeros(n, bool)
        return Inside(Sets(none, none), jnp.full(n, jnp.nan), jnp.zeros(()), jnp.int32(3))

    monkeypatch.setattr(_shrinking, "interior_point", nowhere)
    monkeypatch.setattr(_shrinking, "_smoothed", lambda qp, factor, whole: qp.q)
    qp = BoxQP(Product(jnp.ones((16, 1))), jnp.arange(16.0), jnp.zeros(16), jnp.ones(16))
    found = jax.jit(lambda: _shrinking.shrinking(qp, _face.scales(qp), 60))()
    assert int(found.steps) == 9 * 3


def test_what_is_in_no_doubt_is_held_at_the_bound_that_it_has(monkeypatch) -> None:
    """Two of sixteen are in doubt, and those that are pinned are not."""

    def at_one(qp, scales, most):
        del scales, most
        n = qp.q.size
        x = jnp.ones(n) if n == 2 else jnp.full(n, jnp.nan)
        return Inside(Sets(jnp.zeros(n, bool), jnp.ones(n, bool)), x, jnp.zeros(()), jnp.int32(3))

    kinds = {  # slope as foreseen, q, lower, upper, where it is held
        "in doubt": (0.1, -1, 0, 1, 1),
        "falls, to its upper bound": (-5, -1, 0, 1, 1),
        "falls, without an upper bound": (-5, 1, 0, np.inf, 0),
        "rises, to its lower bound": (5, 1, 0, 1, 0),
        "rises, without a lower bound": (5, -1, -np.inf, 1, 1),
        "is pinned": (-5, -1, 2, 2, 2),
        "is pinned, without a slope": (0, -1, 2, 2, 2),
    }
    of = np.repeat(np.array(list(kinds.values())), [2, 3, 2, 3, 2, 2, 2], axis=0)
    slope, q, lower, upper, held = map(jnp.asarray, of.T)
    monkeypatch.setattr(_shrinking, "interior_point", at_one)
    monkeypatch.setattr(_shrinking, "_smoothed", lambda qp, factor, whole: slope)
    qp = BoxQP(Product(jnp.zeros((16, 1))), q, lower, upper)
    found = jax.jit(lambda: _shrinking.shrinking(qp, _face.scales(qp), 60))()
    np.testing.assert_array_equal(found.x, held)
    assert int(found.steps) == 3
    np.testing.assert_array_equal(found.sets.upper, (held == upper) & (lower < upper))
    np.testing.assert_array_equal(found.sets.lower, ~found.sets.upper)


@pytest.mark.parametrize(("b", "wrong"), [(2, True), (1, False), (-1, False), (-1.1, True)])
def test_a_variable_outside_the_equality_makes_nothing_feasible(b, wrong) -> None:
    assert bool(_infeasible(box(E, (0, 0, -np.inf), (1, 1, np.inf), E, b))) is wrong


def test_where_few_may_be_free_the_others_go_to_their_nearer_bound() -> None:
    qp, x = box(E, (0, 0, 0), (1, 1, 1), E, 0), jnp.array([0.6, 0.9, 0.2])
    sets, _, steps = _within(1, qp, Inside(Sets(NO, NO), x, jnp.zeros(()), jnp.int32(7)))
    np.testing.assert_array_equal([sets.lower, sets.upper], [[0, 0, 1], [0, 1, 0]])
    assert int(steps) == 7


def test_an_idle_direction_is_followed_to_the_first_bound_in_the_way() -> None:
    qp, sets = box(E, (0, 0, 0), (1, 1, 1), E, 0), Sets(jnp.array([True, False, False]), NO)
    for idle, x, expected, lower, upper in (
        ((9.0, 0.1, -0.3), (0, 0.5, 0.6), (18, 0.7, 0), (1, 0, 1), (0, 0, 0)),
        ((0.0, 0.1, -0.1), (0, 0.5, 0.6), (0, 1.0, 0.1), (1, 0, 0), (0, 1, 0)),
        (
            (0.0, 0.1, 0.1),
            (0, 1.1, 0.6),
            (0, 1.1, 0.6),
            (1, 0, 0),
            (0, 1, 0),
        ),  # beyond: no way back
        ((0.0, 0.0, 0.0), (0, 0.5, 0.6), (0, 0.5, 0.6), (1, 0, 0), (0, 0, 0)),
    ):
        found, moved = _idled(qp, sets, jnp.asarray(x, float), jnp.asarray(idle))
        np.testing.assert_allclose(moved, expected, atol=1e-15)
        np.testing.assert_array_equal([found.lower, found.upper], [lower, upper])


def test_with_nothing_free_the_multiplier_has_an_interval() -> None:
    """Of unequal coefficients, some zero, some variables pinned: by each condition of its own."""
    e, gradient = np.array([2.0, -0.5, 0.0, 4.0, -1.0, 1.0]), np.array([1.0, 2, 3, 0.5, -1, -40])
    lower, upper = np.zeros(6), np.where(np.arange(6) == 5, 0.0, 1.0)  # the last is pinned
    qp = BoxQP(np.eye(6), gradient, lower, upper, e, np.zeros(()))
    at_lower = np.array([True, False, True, True, False, True])
    cuts = -gradient[:5] / np.where(e[:5] == 0, 1, e[:5])
    from_below = (at_lower == (e > 0))[:5] & (e[:5] != 0)
    from_above = ~from_below & (e[:5] != 0)
    sets = Sets(jnp.asarray(at_lower), jnp.asarray(~at_lower))
    keys = _face.sides(qp, jnp.asarray(gradient), sets)
    best = np.max(keys, axis=1)
    np.testing.assert_allclose(
        best, [np.max(cuts[from_below]), -np.min(cuts[from_above], initial=np.inf)]
    )


@pytest.mark.parametrize(
    ("ends", "middle"), [((3, 5), 4), ((3, np.inf), 3), ((-np.inf, 5), 5), ((-np.inf, np.inf), 0)]
)
def test_the_middle_of_an_interval_is_its_one_finite_end_or_zero(ends, middle) -> None:
    """As a number, and as a mean of the cuts that are at its ends: twins count half."""
    best = jnp.array([ends[0], -ends[1]], float)
    assert float(_face.centre(best)) == middle
    cuts = jnp.array([ends[0], ends[0], ends[1], 2], float)
    keys = jnp.stack(
        [
            jnp.where(jnp.arange(4) < 2, cuts, -jnp.inf),
            jnp.where(jnp.arange(4) == 2, -cuts, -jnp.inf),
        ]
    )
    weights = _face.middle(keys, best)
    assert float(weights @ jnp.where(jnp.isfinite(cuts), cuts, 0)) == middle
    assert float(weights[0]) == float(weights[1])


def test_the_factor_of_a_face_is_the_inverse_of_its_conditions() -> None:
    """At once: a refinement would take away what it lacks in the equality."""
    root, rhs = jnp.asarray(RNG.normal(size=(4, 2))), jnp.asarray(RNG.normal(size=5))
    e = jnp.array([1.0, -2.0, 0.5, 1.0])
    qp = BoxQP(root @ root.T, 1 - e, jnp.zeros(4), jnp.ones(4), e, jnp.asarray(0.3))
    sets = Sets(jnp.arange(4) == 3, jnp.zeros(4, bool))

    @jax.jit
    def through(rhs):
        scales = _face.scales(qp)
        u, face, *_ = _face.solve(qp, sets, jnp.zeros(4), scales)
        move = _face.backsolve(qp, face, _face.Unknowns(rhs[:4], rhs[4]))
        moved = _face.conditions(qp, jax.tree.map(jnp.add, u, move), face)
        return _face.conditions(qp, u, face), moved

    at, moved = through(rhs)
    np.testing.assert_allclose(jnp.append(at.x, at.nu), 0, atol=1e-11)
    np.testing.assert_allclose(jnp.append(moved.x, moved.nu), rhs, atol=1e-10)


def test_a_matrix_of_low_rank_loses_nothing_where_the_barrier_is_small() -> None:
    """Of right-hand sides in its range, and seen from there, where a small barrier b takes nothing:
    (ZZ' + b)^-1 Z = Z (Z'Z + b)^-1.
    """
    Z, b = RNG.normal(size=(5, 2)), 1e-8
    qp = BoxQP(Product(jnp.asarray(Z)), jnp.zeros(5), jnp.zeros(5), jnp.ones(5))
    found = jax.jit(_newton)(qp, jnp.ones(5, bool), jnp.full(5, b), jnp.asarray(Z))
    square = Z.T @ Z
    np.testing.assert_allclose(
        Z.T @ found, square @ np.linalg.inv(square + b * np.eye(2)), atol=1e-11
    )


def test_sizes_of_systems() -> None:
    def qp(n, rank=None):
        Q = jnp.eye(n) if rank is None else Product(jnp.ones((n, rank)))
        return BoxQP(Q, jnp.zeros(n), jnp.zeros(n), jnp.ones(n))

    assert [_face.buckets(qp(n)) for n in (3, 79, 80)] == [(3,), (79,), (64, 80)]
    assert [_face.buckets(qp(200, r)) for r in (1, 62, 63, 95, 200)] == [
        (64,),
        (64,),
        (64, 96),
        (64, 96, 200),
        (64, 96, 200),
    ]
    assert [_support.buckets(d) for d in (3, 79, 80, 1000)] == [
        (3,),
        (79,),
        (64, 80),
        (64, 256, 1000),
    ]
    picked = [int(_support.bucket_of(jnp.int32(k), (64, 256, 1000))) for k in (0, 64, 65, 256, 257)]
    assert picked == [0, 0, 1, 1, 2]
    index, position, count = _support.gather(jnp.array([False, True, False, True]))
    assert int(count) == 2
    np.testing.assert_array_equal(index, [1, 3, 0, 2])
    np.testing.assert_array_equal(position[jnp.array([1, 3])], [0, 1])
    assert int(_support.gather(NO)[2]) == 0
    np.testing.assert_array_equal(_support.gather(NO)[1], 0)
