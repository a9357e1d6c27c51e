"""Edges of stochastic runs: draws that are apart or shared, ends, averages, what is said."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel.stochastic import F2SA, SABA, SOBA, AmIGO, StocBiO, StochasticBilevel, minimize
from bilevel.stochastic._loop import OUTER_DIVERGED, Descended
from bilevel.stochastic._method import Triple

# The slopes in z say which row of each level was drawn.
TENS = 10 * np.arange(1.0, 6)
DRAWN = StochasticBilevel(
    lambda z, w, rows: jnp.mean(rows) * jnp.sum(w) * jnp.sum(z),
    lambda z, w, rows: jnp.mean(rows) * jnp.sum(z) + jnp.sum(w),
    TENS, np.arange(5.0), 1, 1,
)  # fmt: skip
METHODS = {
    "SOBA": SOBA(),
    "SABA": SABA(),
    "AmIGO": AmIGO(1, 1),
    "StocBiO": StocBiO(1, 1),
    "F2SA": F2SA(100.0, inner_steps=1),
}
ONE, TWO = jnp.ones(1), jnp.full(1, 2.0)
UNIT = Triple(*(jnp.ones(()) for _ in range(3)))
KEYS = jax.random.split(jax.random.key(0), 200)


def directions(method, key):
    v, memory = method.init(DRAWN, ONE, ONE)
    if isinstance(method, SABA):
        memory = jax.tree.map(jnp.zeros_like, memory)
    v = TWO if jax.tree.leaves(v) else ()
    return method.directions(DRAWN, Triple(ONE, v, ONE), memory, UNIT, key)[0]


@pytest.mark.parametrize("name", METHODS)
def test_rows_of_both_levels_are_drawn_apart(name) -> None:
    """Of the 25 pairs every one occurs."""
    found = jax.jit(jax.vmap(lambda key: directions(METHODS[name], key).outer))(KEYS)
    assert np.unique(np.round(found, 6)).size == 25


def test_both_walks_of_f2sa_see_the_same_rows() -> None:
    """Their directions differ by the slope of the outer objective alone."""
    found = jax.jit(jax.vmap(lambda key: directions(F2SA(100.0, inner_steps=3), key)))(KEYS)
    np.testing.assert_allclose(found.adjoint - found.inner, 3 / 100, atol=1e-9)
    assert np.unique(np.round(found.inner, 6)).size > 10
    start, multiplier = F2SA(100.0).init(DRAWN, ONE, TWO)
    assert (float(start[0]), float(multiplier)) == (2, 100)


def falling(step):
    """Step sizes of z: without bound in the eighth step."""
    return jnp.where(step == 7, jnp.inf, 0.1)


def test_a_run_ends_when_it_is_told_and_its_average_with_what_was_finite() -> None:
    still = StochasticBilevel(
        lambda z, w, rows: jnp.sum(w * w), lambda z, w, rows: jnp.sum(z) + jnp.sum(w * w),
        np.ones(2), np.ones(2),
    )  # fmt: skip

    def run(state):
        return minimize(
            still, jnp.zeros(1), jnp.zeros(1), method=SOBA(), inner_step=0.1, outer_step=falling,
            steps=5, every=2, record=lambda s: (s.at.outer, s.step), state=state,
        )  # fmt: skip

    first = run(None)
    assert int(first.steps) == 5
    np.testing.assert_allclose(first.history[0][:, 0], [-0.2, -0.4, -0.5], rtol=1e-12)
    np.testing.assert_array_equal(first.history[1], [2, 4, 5])
    second = run(first.state)
    assert (int(second.steps), int(second.state.step), int(second.status)) == (2, 7, OUTER_DIVERGED)
    np.testing.assert_allclose(second.z, -0.7, rtol=1e-12)
    np.testing.assert_array_equal(second.history[1], [7, 7, 7])
    assert np.isnan(second.history[0][-1, 0])
    mean = 0.0
    for t in range(1, 8):
        mean += 4 / (t + 3) * (-0.1 * t - mean)
    np.testing.assert_allclose(second.average, mean, rtol=1e-12)


def test_of_a_batch_of_runs_the_worst_end_is_told() -> None:
    status = jnp.array([0, OUTER_DIVERGED, 0])
    state: Any = None
    ended = Descended(ONE, ONE, ONE, status, status, None, state)
    assert "outer_step" in ended.message


def test_what_is_wrong_is_said_of_either_level_and_of_every_count() -> None:
    def vector(z, w, rows):
        return rows * jnp.sum(w)

    def mean(z, w, rows):
        return jnp.mean(vector(z, w, rows))

    rows = np.ones(24)
    for make, sentence in (
        (lambda: F2SA(inner_steps=0), "inner_steps: got 0"),
        (lambda: StocBiO(inner_steps=0), "inner_steps: got 0"),
        (lambda: SABA().init(StochasticBilevel(mean, mean, rows, rows, None, 7), ONE, ONE),
         "outer_batch: got 7, which does not divide"),
        (lambda: minimize(StochasticBilevel(vector, mean, rows, rows), ONE, ONE, method=SOBA(),
                          inner_step=0.1, outer_step=0.1), "inner: returns .* expected a scalar"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"^{sentence}"):
            make()


def test_the_table_of_a_level_has_a_place_for_each_of_its_parts() -> None:
    six, four = np.arange(6.0), np.arange(4.0)
    problem = StochasticBilevel(
        lambda z, w, rows: jnp.mean(rows) * jnp.sum(w * z),
        lambda z, w, rows: jnp.mean(rows) * jnp.sum(w * z), six, four, 2, 1,
    )  # fmt: skip
    _, tables = SABA().init(problem, ONE, ONE)
    for level, parts in zip(tables, (3, 4), strict=True):
        assert {leaf.shape[0] for leaf in jax.tree.leaves(level) if jnp.ndim(leaf) > 1} == {parts}
