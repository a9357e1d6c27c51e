"""Corners of iterations: ranges of integer paths, and what an optimiser is told."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bilevel.problems import Smooth, Stochastic
from bilevel.results import CONVERGED, MAX_STEPS, OUT_OF_RANGE
from bilevel.solvers import Descent, Momentum, Newton


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
