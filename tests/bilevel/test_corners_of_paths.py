"""Corners of iterations: ranges of integer paths, and what an optimiser is told."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bilevel import Point
from bilevel.linear import GMRES
from bilevel.problems import FixedPoint, Smooth, Stochastic
from bilevel.results import CONVERGED, MAX_STEPS, OUT_OF_RANGE
from bilevel.solvers import LBFGS, Anderson, Clipped, Descent, Momentum, Newton
from bilevel.solvers.smooth._smooth import AbstractSmoothSolver


@jax.jit
def along(start, rates):
    """Three steps against a slope of one; the decay is a half."""
    problem = Smooth(lambda w, _: jnp.sum(w), start)
    return Momentum(3, rates, 0.5).run(problem, start)


@pytest.mark.parametrize(
    ("start", "rates", "end"),
    [
        (8189.0, (-1.0, 2.0, 0.0), 8187.75),
        (8189.0, (-4.0, 8.0, 0.0), None),  # beyond 8192 after the first step alone
        (-8189.0, (4.0, -8.0, 0.0), None),
        (8193.0, (2.0, 0.0, 0.0), None),  # at the start alone
        (0.0, (-31.0, 15.0, 0.0), 31.75),
        (0.0, (-33.0, 16.0, 0.0), None),  # a step of 33
        (0.0, (-20.0, -25.0, 0.0), None),  # of 35, with that before
        (0.0, (0.0, 0.0, np.nan), None),
    ],
)
def test_a_path_that_leaves_its_range_does_not_come_back(start, rates, end) -> None:
    point = along(jnp.array([0.0, start]), jnp.asarray(rates))
    if end is None:
        assert int(point.result) == OUT_OF_RANGE
        assert np.all(np.isnan(point.unknowns))
    else:
        assert int(point.result) == CONVERGED
        np.testing.assert_allclose(point.unknowns, np.array([end - start, end]), rtol=1e-12)


@pytest.mark.parametrize("index", [0, 1])
def test_an_optimiser_is_told_the_loss_of_its_step(index) -> None:
    """Its value, and the function: of the rows that this step draws."""

    def update(updates, state, params: Any = None, **more) -> Any:
        there = more["value_fn"](2 * params)
        return jax.tree.map(lambda g: 0 * g + there - 0.1 * more["value"], updates), state

    def loss(w, args, key):
        del key
        table, rows = args
        return jnp.mean(table[rows]) + jnp.sum(w)

    tell = optax.GradientTransformationExtraArgs(lambda params: (), update)
    rows = jnp.array([[0, 2], [1, 1]])
    start = jnp.array([1.0, 3.0])
    problem = Stochastic(loss, start, jnp.array([1.0, 2.0, 5.0]), jax.random.key(0), rows)
    moved, _ = Descent(tell, 2).step(problem, (start, ()), jnp.int32(index))
    mean = [3, 2][index]
    np.testing.assert_allclose(moved, start + (mean + 8) - 0.1 * (mean + 4))


@eqx.filter_jit
def halved(most):
    """Newton's steps for (1 + w^2)^(1/2) lead from w to -w^3."""
    problem = Smooth(lambda w, _: jnp.sqrt(1 + w[0] ** 2), jnp.array([2.0]))
    return eqx.tree_at(lambda s: s.max_steps, Newton(), most).run(problem, problem.start)


@pytest.mark.parametrize(("most", "end"), [(0, 2.0), (1, -0.5), (2, 0.125)])
def test_a_step_of_newton_counts_once_however_often_it_is_halved(most, end) -> None:
    """The first is, twice."""
    point = halved(jnp.int32(most))
    np.testing.assert_allclose(point.unknowns, [end], rtol=1e-9)
    assert (int(point.result), int(point.stats["steps"])) == (MAX_STEPS, most)
    np.testing.assert_allclose(point.stats["residual"], abs(end) / (1 + end**2) ** 0.5, rtol=1e-9)


def test_a_restarted_solve_ends_within_a_cycle_once_it_is_as_rough_as_asked() -> None:
    """The second cycle of six has less to do than the first."""
    seen = []

    def product(v):
        jax.debug.callback(seen.append, v)
        return jnp.linspace(1, 2, 12) * v

    solver = GMRES(tol=1e-6, restart=6, precondition=False)
    rhs = 100 * jnp.ones(12)
    found = jax.jit(lambda: solver.solve(product, lambda v: v, rhs))()
    jax.effects_barrier()
    left = np.linalg.norm(rhs - np.linspace(1, 2, 12) * found) / np.linalg.norm(rhs)
    assert 1e-9 < left <= 1e-6
    assert 6 + 1 + 1 + 1 <= len(seen) < 6 + 1 + 6 + 1


def test_gradients_are_clipped_of_rows_that_are_told_by_their_numbers() -> None:
    def loss(w, args, key):
        return jnp.sum(w)

    start, solver = jnp.zeros(2), Clipped(optax.sgd(0.1), 2, 1.0)
    for series in (None, jnp.ones((2, 3)), {"rows": jnp.ones((2, 3), int)}):
        with pytest.raises(ValueError, match="Clipped needs a problem whose series are the rows"):
            solver.begin(Stochastic(loss, start, (), jax.random.key(0), series), start)
    with pytest.raises(ValueError, match="Clipped needs a problem whose series are the rows"):
        solver.begin(Smooth(lambda w, _: jnp.sum(w), start), start)  # pyright: ignore
    rows = jnp.ones((2, 3), jnp.int32)
    assert solver.begin(Stochastic(loss, start, (), jax.random.key(0), rows), start)[0] is start


@pytest.mark.parametrize("sign", [1, -1])
def test_rounding_that_one_of_three_probes_sees_is_enough(sign) -> None:
    """Of a sum, or of a difference: the first probe alone moves the first two parts apart."""
    size = 1e-10

    def rounded(w, t):
        seen = jnp.sin(1e17 * (w[0] + sign * w[1]))  # and moved by its own size
        return (w + t) / 2 + size * seen * jnp.array([1.0, sign, 1, 1])

    goal = jnp.array([1.0, 1.3, 1.0, 1.0])
    problem = FixedPoint(rounded, jnp.arange(4.0), goal)
    point = jax.jit(lambda: Anderson().run(problem, problem.start))()
    assert int(point.result) == CONVERGED
    np.testing.assert_allclose(point.unknowns, goal, atol=3 * size)
    assert int(point.stats["steps"]) < 100


class Stop(AbstractSmoothSolver):
    """Ends where it begins."""

    def run(self, problem, warm):
        return Point(warm, None, warm, jnp.int32(0), {})

    def backsolve(self, problem, frozen, rhs):
        return rhs


def test_a_pair_of_negative_curvature_is_forgotten() -> None:
    """Of 4 cos w, from near the top: another step of length one."""
    problem = Smooth(lambda w, _: 4 * jnp.sum(jnp.cos(w)), jnp.array([0.3]))
    solver = LBFGS(1e-9, 2, finish=Stop())
    point = jax.jit(lambda: solver.run(problem, problem.start))()
    np.testing.assert_allclose(point.unknowns, [2.3], rtol=1e-12)
    assert int(point.stats["first_order_steps"]) == 2
