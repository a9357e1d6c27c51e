"""Edges of iterations: single steps by hand, what is told of their ends, draws that are apart."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bilevel import Point
from bilevel.penalties import L1
from bilevel.problems import BoxQP, Composite, FixedPoint, Product, Smooth, Stochastic
from bilevel.results import CONVERGED, MAX_STEPS, NON_FINITE
from bilevel.solvers import (
    LBFGS,
    Anderson,
    Clipped,
    Descent,
    Momentum,
    Newton,
    NewtonCG,
    Picard,
    ProjectedGradient,
    ProximalGradient,
    _equilibrium,
)
from bilevel.solvers.path import proximal_gradient
from bilevel.solvers.path._reversible import Track
from bilevel.solvers.smooth._smooth import AbstractSmoothSolver, descend, descends
from bilevel.solvers.smooth.lbfgs import _two_loops

RNG = np.random.default_rng(4)


def rooted(w, args=None):
    """A slope without end at zero."""
    return jnp.sum(jnp.sqrt(w))


ZEROS = jnp.zeros(2)
ENDS = {
    "Picard": lambda: Picard(2).arrive(
        FixedPoint(lambda w, _: jnp.where(w < 1, jnp.nan, w), ZEROS), ZEROS
    ),
    "Descent": lambda: Descent(optax.sgd(0.1), 2).arrive(Smooth(rooted, ZEROS), (ZEROS, None)),
    "ProximalGradient": lambda: ProximalGradient(2, 0.1).arrive(
        Composite(rooted, L1(0.0), ZEROS), (ZEROS, ZEROS)
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_an_end_where_the_residual_is_no_number_is_none(name) -> None:
    end = ENDS[name]()
    assert (int(end.result), int(end.stats["steps"])) == (NON_FINITE, 2)


class Products:
    """In place of a linear solver: the product with its matrix."""

    def __init__(self, precondition: bool):
        assert not precondition

    def solve(self, matvec, backsolve, rhs):
        return matvec(rhs)


def test_transposed_systems_are_those_of_the_transpose(monkeypatch) -> None:
    """A wrong one would only cost more steps of what it prepares."""
    mix, rhs = RNG.normal(size=(3, 3)), jnp.asarray(RNG.normal(size=3))
    monkeypatch.setattr(_equilibrium, "GMRES", Products)
    monkeypatch.setattr(proximal_gradient, "GMRES", Products)
    root, start = RNG.normal(size=(3, 3)), jnp.ones(3)

    def loss(w, _):
        return 0.5 * jnp.sum((root @ w) ** 2)

    box = Composite(loss, L1(jnp.array([0.0, 0.0, 1e3])), start)  # the last is at zero
    steep = 0.1 * root.T @ root * np.array([1, 1, 0])[:, None]
    cases: Any = (
        (Picard(1), FixedPoint(lambda w, _: mix @ w, start), np.eye(3) - mix),
        (ProximalGradient(1, 0.1), box, np.eye(3) - np.diag([1, 1, 0]) + steep),
    )
    for solver, problem, jacobian in cases:
        at = jnp.ones(3)
        found = solver.backsolve(problem, at, rhs), solver.backsolve_transposed(problem, at, rhs)
        np.testing.assert_allclose(found, [jacobian @ rhs, jacobian.T @ rhs], rtol=1e-12)


def test_steps_of_projected_gradients_by_hand() -> None:
    """The box is wide: a projection is one onto x1 + 2 x2 = 1, and so is the start."""
    factor, q, e = np.array([[1.0, 0.2], [0.2, 0.5]]), np.array([1.0, -2.0]), np.array([1.0, 2.0])
    Q = factor @ factor.T
    qp = BoxQP(Product(jnp.asarray(factor)), q, np.full(2, -9.0), np.full(2, 8.0), e, np.ones(()))
    t = 1 / np.max(np.sum(np.abs(Q), axis=1))

    def project(v):
        nu = (e @ v - 1) / (e @ e)
        return v - nu * e, nu / t

    x = before = project(np.zeros(2))[0]
    nu = 0.0
    for k in range(3):
        y = x + k / (k + 3) * (x - before)
        before, (x, nu) = x, project(y - t * (Q @ y + q))
    solver = ProjectedGradient(3)
    point = jax.jit(lambda: solver.run(qp, solver.cold(qp)))()
    np.testing.assert_allclose(point.unknowns[0], x, rtol=1e-12)
    np.testing.assert_allclose(point.unknowns[1], nu, rtol=1e-12)
    assert int(point.stats["steps"]) == 3
    nan = solver.arrive(qp, (jnp.asarray(x), jnp.asarray(x), jnp.asarray(np.nan)))
    assert int(nan.result) == NON_FINITE
    left = np.linalg.norm(project(x - t * (Q @ x + q))[0] - x)
    np.testing.assert_allclose(point.stats["residual"], left, rtol=1e-12)
    np.testing.assert_allclose(solver.slack(qp, point.unknowns, None), [*(x + 9), *(8 - x)])


@pytest.mark.parametrize("momentum", [True, False])
def test_steps_of_proximal_gradients_by_hand(momentum) -> None:
    goal, strength, t = np.array([2.0, -1.0, 0.1]), 0.3, 0.2

    def prox(v):
        return np.sign(v) * np.maximum(np.abs(v) - t * strength, 0)

    x = before = np.array([0.5, 0.5, 0.0])
    problem = Composite(
        lambda w, goal: 0.5 * jnp.sum((w - goal) ** 2), L1(strength), jnp.asarray(x), goal
    )
    for k in range(3):
        y = x + (k / (k + 3) if momentum else 0) * (x - before)
        before, x = x, prox(y - t * (y - goal))
    solver = ProximalGradient(3, t, momentum)
    point, slack = jax.jit(
        lambda: (p := solver.run(problem, problem.start), solver.slack(problem, p.unknowns, None))
    )()
    np.testing.assert_allclose(point.unknowns, x, rtol=1e-12)
    left = np.linalg.norm(prox(x - t * (x - goal)) - x)
    np.testing.assert_allclose(point.stats["residual"], left, rtol=1e-12)
    forces = np.where(x == 0, t * (strength - np.abs(x - goal)), np.inf)
    lengths = np.where(x == 0, np.inf, np.abs(x))
    np.testing.assert_allclose(slack, [*lengths, *forces], rtol=1e-12)


def test_an_optimiser_of_clipped_gradients_is_told_the_mean_loss_and_noise_is_new() -> None:
    """It moves by the loss."""

    def update(updates, state, params=None, **more) -> Any:
        del params
        return jax.tree.map(lambda g: g - more["value"], updates), state

    def loss(w, args, key):
        del key
        table, rows = args
        return jnp.mean(table[rows]) + 0 * jnp.sum(w)

    tell = optax.GradientTransformationExtraArgs(lambda params: (), update)
    rows = jnp.array([[0, 2], [2, 0]])
    problem = Stochastic(loss, ZEROS, jnp.array([1.0, 2.0, 5.0]), jax.random.key(0), rows)

    @jax.jit
    def moves(noise):
        solver = Clipped(tell, 2, 1.0, noise)
        first = solver.step(problem, (ZEROS, ()), jnp.int32(0))[0]
        return first, solver.step(problem, (ZEROS, ()), jnp.int32(1))[0]

    np.testing.assert_allclose(moves(0.0), -3)
    first, second = moves(1.0)
    assert np.all(np.abs(np.asarray(first - second)) > 1e-6)


def test_a_decay_that_rounds_to_one_is_refused() -> None:
    Momentum(2, 0.1, 0.998)
    with pytest.raises(ValueError, match=r"^decay: got 0.9985"):
        Momentum(2, 0.1, 0.9985)


def test_where_the_curvature_is_negative_newton_steps_by_its_size() -> None:
    """Of 4 cos w: one step, and the slope where it ends. A rough tolerance takes fewer steps."""
    problem = Smooth(lambda w, _: 4 * jnp.sum(jnp.cos(w)), jnp.array([0.5]))

    @eqx.filter_jit
    def run(most, tol):
        solver = eqx.tree_at(lambda s: (s.max_steps, s.tol), Newton(), (most, tol))
        return solver.run(problem, problem.start)

    point = run(jnp.int32(1), jnp.asarray(1e-12))
    ahead = 0.5 + np.tan(0.5)
    np.testing.assert_allclose(point.unknowns, ahead, rtol=1e-12)
    np.testing.assert_allclose(point.stats["residual"], 4 * np.sin(ahead), rtol=1e-12)
    assert (int(point.result), int(point.stats["steps"])) == (MAX_STEPS, 1)
    tolerances = (1e-12, 1e-6, 1e-2)
    counts = [int(run(jnp.int32(100), jnp.asarray(tol)).stats["steps"]) for tol in tolerances]
    assert counts[0] > counts[1] > counts[2]


def test_adjoints_by_conjugate_gradients_are_as_exact_as_they_are_asked_to_be() -> None:
    curved = jnp.logspace(-1, 1, 8)
    problem = Smooth(lambda w, _: 0.5 * jnp.sum(curved * w * w), jnp.zeros(8))
    found = jax.jit(lambda rhs: NewtonCG().backsolve(problem, problem.start, rhs))(jnp.ones(8))
    np.testing.assert_allclose(found, 1 / curved, rtol=1e-9)


@pytest.mark.parametrize("count", [0, 2, 3, 5])
def test_two_loops_are_the_recursion_of_bfgs(count) -> None:
    """Of the last three pairs, however many there were."""
    memory, n = 3, 4
    curved = np.diag([1.0, 2.0, 3.0, 5.0])
    steps = RNG.normal(size=(count, n))
    pairs = [np.zeros((memory, n)), np.zeros((memory, n)), np.zeros(memory)]
    inverse = np.eye(n)
    for i, s in enumerate(steps):
        y = curved @ s
        pairs[0][i % memory], pairs[1][i % memory], pairs[2][i % memory] = s, y, 1 / (s @ y)
    if count:
        last, y = steps[-1], curved @ steps[-1]
        inverse = inverse * (last @ y) / (y @ y)
    for s in steps[-memory:]:
        y = curved @ s
        left = np.eye(n) - np.outer(s, y) / (s @ y)
        inverse = left @ inverse @ left.T + np.outer(s, s) / (s @ y)
    gradient = RNG.normal(size=n)
    for size in (0.1, 10.0):
        g = size * gradient / np.linalg.norm(gradient)
        found = jax.jit(_two_loops)(
            tuple(map(jnp.asarray, pairs)), jnp.asarray(g), jnp.int32(count)
        )
        shrink = min(1, 1 / size) if count == 0 else 1
        np.testing.assert_allclose(found, shrink * inverse @ g, rtol=1e-10)


class Stop(AbstractSmoothSolver):
    """Ends where it begins."""

    def run(self, problem, warm):
        return Point(warm, None, warm, jnp.int32(0), {})

    def backsolve(self, problem, frozen, rhs):
        return rhs


def test_first_order_steps_end_at_a_share_of_the_first_slope_or_when_told() -> None:
    def loss(w, size):
        return size * jnp.sum(jnp.cosh(jnp.arange(1.0, 4) * w))

    slope = jax.jit(jax.grad(loss))

    @eqx.filter_jit
    def run(size, most):
        solver = eqx.tree_at(lambda s: s.max_steps, LBFGS(0.03, finish=Stop()), most)
        point = solver.run(Smooth(loss, jnp.ones(3), size), jnp.ones(3))
        return point.unknowns, point.stats["first_order_steps"]

    for size in (1e-6, 1e6):
        size = jnp.asarray(size)
        w, steps = run(size, jnp.int32(50))
        share = np.linalg.norm(slope(w, size)) / np.linalg.norm(slope(jnp.ones(3), size))
        assert 1e-6 < share <= 0.03
        assert 2 < int(steps) < 50
    assert int(run(jnp.ones(()), jnp.int32(2))[1]) == 2


def test_a_direction_uphill_gives_way_to_the_slope(monkeypatch) -> None:
    """One that rounding has turned, or of no slope at all."""
    bowl = Smooth(lambda w, _: 0.5 * w @ w, jnp.array([1.0, 2.2]))
    for wrong in ([-5.0, 0.0], [2.2, -1.0]):
        monkeypatch.setitem(LBFGS.run.__globals__, "_two_loops", lambda *_, d=wrong: jnp.asarray(d))
        point = LBFGS(0.03, 1, finish=Stop()).run(bowl, bowl.start)
        np.testing.assert_array_equal(point.unknowns, 0)


def test_a_step_over_negative_curvature_says_nothing_about_the_next() -> None:
    """On a saddle: both steps are of length one down the slope."""
    bent = jnp.array([-1.0, 0.5])
    saddle = Smooth(lambda w, bent: 0.5 * jnp.sum(bent * w * w), jnp.array([1.0, 2.2]), bent)
    for most in (1, 2):
        point = LBFGS(0.03, most, finish=Stop()).run(saddle, saddle.start)
        w = np.array([1.0, 2.2])
        for _ in range(most):
            w = w - bent * w / np.linalg.norm(bent * w)
        np.testing.assert_allclose(point.unknowns, w, rtol=1e-12)
        assert int(point.stats["first_order_steps"]) == most


@pytest.mark.parametrize(
    ("new", "fall", "new_size", "wanted"),
    [
        (0.5, -1.0, 2.0, True),
        (1 - 1e-5, -1.0, 2.0, False),  # it falls, by too little
        (1.0, -1.0, 0.9, True),  # level, and flatter
        (1.0, -1.0, 1.1, False),
        (1 + 1e-15, -1e-16, 2.0, True),  # level, and no more was to be expected
        (1 + 1e-10, -1e-9, 0.4, True),  # it rises by the noise of sums, and is much flatter
        (1 + 1e-10, -1e-9, 0.6, False),
        (2.0, -1.0, 0.1, False),  # it rises
        (-np.inf, -1.0, 0.1, False),
    ],
)
def test_a_step_is_taken_if_it_descends(new, fall, new_size, wanted) -> None:
    """Rounding is that of the value, of either sign."""
    unit, ones = np.array([1.0, 1e6, 1e-6]), np.ones(3)
    found = descends(*map(jnp.asarray, (unit, new * unit, fall * unit, ones, new_size * ones)))
    np.testing.assert_array_equal(found, wanted)
    below = descends(
        *map(jnp.asarray, (-unit, (new - 2) * unit, fall * unit, ones, new_size * ones))
    )
    np.testing.assert_array_equal(below, wanted)


def test_a_way_uphill_is_not_taken() -> None:
    def both(w):
        return 0.5 * w @ w, w

    w = jnp.array([1.0, -2.0])
    found = jax.jit(lambda w: descend(both, w, *both(w), w))(w)
    np.testing.assert_array_equal(found[0], w)
    assert (float(found[1]), float(found[3])) == (2.5, 0)
    half = jax.jit(lambda w: descend(both, w, *both(w), -4 * w))(w)
    np.testing.assert_array_equal(half[0], -w + 0)
    assert float(half[3]) == 0.25 or float(half[3]) == 0.5


def test_a_damped_acceleration_by_hand_and_as_roughly_as_asked() -> None:
    mix, c, w = np.array([[0.5, 0.2], [-0.3, 0.4]]), np.array([1.0, -2.0]), np.zeros(2)
    damping = 0.3

    @eqx.filter_jit
    def run(most, tol, c):
        solver = eqx.tree_at(
            lambda s: (s.max_steps, s.tol), Anderson(memory=1, damping=damping), (most, tol)
        )
        problem = FixedPoint(lambda w, c: mix @ w + c, jnp.zeros(2), c)
        return solver.run(problem, problem.start)

    def left(w):
        return mix @ w + c - w

    first = w + damping * left(w)
    dw, dr = first - w, left(first) - left(w)
    share = dr @ left(first) / (dr @ dr)
    second = first + damping * left(first) - share * (dw + damping * dr)
    point = run(jnp.int32(2), jnp.asarray(1e-14), c)
    np.testing.assert_allclose(point.unknowns, second, rtol=1e-9)
    np.testing.assert_allclose(point.stats["residual"], np.linalg.norm(left(second)), rtol=1e-9)
    rough = run(jnp.int32(50), jnp.asarray(0.01), 1e6 * c)
    assert int(rough.result) == CONVERGED
    w = np.asarray(rough.unknowns)
    assert 1e-7 < np.linalg.norm(mix @ w + 1e6 * c - w) / np.linalg.norm(w) <= 0.01


def test_a_reversal_closes_from_what_the_path_has_left_and_from_nothing_else() -> None:
    """Two segments: neither a lost bit of any nor a path out of range goes unseen."""

    def loss(w, goal):
        return 0.5 * jnp.sum((w - goal) ** 2)

    goal, start = jnp.array([1.0, -2.0]), jnp.array([0.5, 0.25])
    track = Track(Smooth(loss, start, goal), 0.3, lambda w: w, 8, 20)
    assert len(track.segments[0]) == 2
    arrival, _ = jax.jit(lambda: track.out(start))()
    moving = jax.tree.map(eqx.is_inexact_array, track)
    back = eqx.filter_jit(lambda arrival: track.back(start, arrival, jnp.ones(2), moving))
    in_start, in_track, closed = back(arrival)
    assert bool(closed)
    # by hand: e' = e + v', v' = v / 32 - 0.3 e, of the distance e to the goal
    step = np.array([[1 - 0.3, 1 / 32], [-0.3, 1 / 32]])
    grown = np.linalg.matrix_power(step, 20)[0, 0]
    np.testing.assert_allclose(arrival.weights(float), goal + grown * (start - goal), rtol=1e-12)
    np.testing.assert_allclose(in_start, grown, rtol=1e-9)
    np.testing.assert_allclose(in_track.problem.args, 1 - grown, rtol=1e-9)
    one = jnp.uint64(1)
    for where, change in (
        (lambda a: a.valid, jnp.logical_not),
        (lambda a: a.words, lambda words: words.at[0, 1].add(one)),
        (lambda a: a.words, lambda words: words.at[1, 0].add(one)),
        (lambda a: a.phase.w, lambda w: w.at[0].add(1)),
        (lambda a: a.phase.v, lambda v: v.at[1].add(1)),
    ):
        assert not back(eqx.tree_at(where, arrival, replace_fn=change))[2]
