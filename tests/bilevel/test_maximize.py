"""The outer loop on a bilevel problem whose optimum is known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bilevel import Ascent, Bilevel, SolveError, maximize, minimize
from bilevel.problems import BoxQP, Smooth
from bilevel.results import INNER_FAILED, NOT_FINITE, RUNNING, SETTLED, ZERO_GRADIENT
from bilevel.solvers import ActiveSet, Newton

RNG = np.random.default_rng(0)
X, Y = jnp.asarray(RNG.normal(size=(10, 3))), jnp.asarray(RNG.normal(size=10))
GOAL = jnp.asarray([0.7, -0.3, 0.4])


def ridge(w, z):
    return 0.5 * jnp.sum((X @ w - Y) ** 2) + 0.5 * jnp.sum(w * w) - jnp.sum(z * w)


def bilevel(inner, outer, solver):
    return Bilevel(inner_problem=inner, outer_objective=outer, solver=solver)


def inner(z):
    return Smooth(ridge, jnp.zeros(3), z)


def outer(z, w):
    del z
    return jnp.sum((w - GOAL) ** 2)


FIT = bilevel(inner, outer, Newton())
DAMAGE = bilevel(inner, lambda z, w: 5 - outer(z, w), Newton())
# w = H^-1 (X'y + z): the goal is met exactly at
OPTIMUM = (X.T @ X + jnp.eye(3)) @ GOAL - X.T @ Y


def coordinates(z):
    return BoxQP(jnp.eye(2), -z, jnp.zeros(2), jnp.ones(2))


# z moves the solution only inside the unit box; outside, the hypergradient is exactly zero
BOXED = bilevel(coordinates, lambda z, value: jnp.sum(value[0]), ActiveSet())

OPTIMIZERS = {
    "sgd": (optax.sgd(20.0), 200),
    "momentum": (optax.sgd(8.0, momentum=0.8), 300),
    "nesterov": (optax.sgd(8.0, momentum=0.8, nesterov=True), 300),
    "adam": (optax.adam(0.3), 400),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_optimizer_finds_the_known_optimum(name):
    optimizer, steps = OPTIMIZERS[name]
    result = minimize(FIT, jnp.zeros(3), optimizer=optimizer, steps=steps, patience=20, tol=0.0)
    np.testing.assert_allclose(result.z, OPTIMUM, atol=1e-2)
    assert float(result.value) < 1e-5
    np.testing.assert_allclose(FIT(result.z), result.value, rtol=1e-6, atol=1e-14)


def test_maximize_is_minimize_upside_down():
    options = {"optimizer": optax.sgd(10.0), "steps": 15}
    up, down = maximize(DAMAGE, jnp.zeros(3), **options), minimize(FIT, jnp.zeros(3), **options)
    np.testing.assert_allclose(up.z, down.z, rtol=1e-12)
    np.testing.assert_allclose(up.value, 5 - down.value, rtol=1e-12)
    np.testing.assert_allclose(up.history, 5 - down.history, rtol=1e-12)


def test_the_best_point_is_kept_although_later_ones_are_worse():
    result = minimize(FIT, OPTIMUM + 0.1, optimizer=optax.sgd(200.0), steps=5, patience=100)
    history = np.asarray(result.history)
    assert history[-1] > history[0]
    assert float(result.value) == history.min()
    np.testing.assert_allclose(FIT(result.z), result.value, rtol=1e-10)


def test_history_is_one_row_per_evaluation_and_the_record_is_the_users():
    def record(step):
        return {"z": step.z, "slope": step.gradient, "inner": step.info.result}

    result = minimize(FIT, jnp.ones(3), optimizer=optax.sgd(5.0), steps=4, record=record)
    assert int(result.steps) == 4
    z, slope = np.asarray(result.history["z"]), np.asarray(result.history["slope"])
    np.testing.assert_array_equal(z[0], np.ones(3))
    np.testing.assert_allclose(z[1:], z[:-1] - 5.0 * slope[:-1], rtol=1e-12)
    np.testing.assert_allclose(slope[2], jax.grad(FIT)(jnp.asarray(z[2])), rtol=1e-9)
    up = maximize(DAMAGE, jnp.ones(3), optimizer=optax.sgd(5.0), steps=4, record=record)
    np.testing.assert_allclose(up.history["slope"], -slope, rtol=1e-12)  # the user's own sign


def test_a_run_without_progress_settles_and_says_so():
    result = minimize(FIT, OPTIMUM, optimizer=optax.sgd(1.0), steps=500, patience=2)
    assert int(result.status) == SETTLED
    assert int(result.steps) < 50
    assert "stopped early" in result.message
    assert np.all(np.isnan(result.history[int(result.steps) :]))
    assert np.all(np.isfinite(result.history[: int(result.steps)]))


def test_a_zero_hypergradient_stops_the_run_and_says_so():
    result = maximize(BOXED, jnp.asarray([2.0, -1.0]), steps=50)
    assert int(result.status) == ZERO_GRADIENT
    assert int(result.steps) == 1
    assert "hypergradient is zero" in result.message
    assert int(maximize(BOXED, jnp.asarray([2.0, 0.5]), steps=1).status) != ZERO_GRADIENT


@pytest.mark.slow
def test_reseeding_moves_what_is_stuck_and_goes_on():
    def reseed(key, z, gradient):
        return jnp.where(gradient == 0, jax.random.uniform(key, z.shape), z)

    start = jnp.asarray([-3.0, -1.0])
    result = maximize(BOXED, start, optimizer=optax.sgd(0.2), steps=20, reseed=reseed)
    assert int(result.status) != ZERO_GRADIENT
    assert float(result.value) > 1.5
    same = maximize(BOXED, start, optimizer=optax.sgd(0.2), steps=2, reseed=reseed)
    for key in (jax.random.key(7), jax.random.key(7, impl="rbg")):
        other = maximize(BOXED, start, optimizer=optax.sgd(0.2), steps=2, reseed=reseed, key=key)
        assert not np.array_equal(other.history, same.history)


def test_the_projection_holds_from_the_start():
    def project(z):
        return jnp.clip(z, -0.5, 0.5)

    result = minimize(
        FIT, jnp.full(3, 9.0), optimizer=optax.sgd(20.0), project=project, steps=200,
        record=lambda step: step.z, tol=0.0,
    )  # fmt: skip
    trace = np.asarray(result.history)[: int(result.steps)]
    np.testing.assert_array_equal(trace[0], np.full(3, 0.5))
    assert np.all(np.abs(trace) <= 0.5)
    # first-order optimal in the box: the gradient points out of it, or vanishes
    slope = np.asarray(jax.grad(FIT)(result.z))
    np.testing.assert_allclose(result.z, project(result.z - slope), atol=1e-3)
    assert np.any(np.abs(np.asarray(result.z)) == 0.5)


@pytest.mark.parametrize("optimizer", [optax.sgd(5.0, momentum=0.5), optax.adam(0.1)])
def test_resuming_is_one_long_run(optimizer):
    long = minimize(FIT, jnp.zeros(3), optimizer=optimizer, steps=12)
    first = minimize(FIT, jnp.zeros(3), optimizer=optimizer, steps=5)
    second = minimize(FIT, jnp.full(3, jnp.nan), optimizer=optimizer, steps=7, state=first.state)
    np.testing.assert_allclose(
        np.concatenate([first.history, second.history]), long.history, rtol=1e-10
    )
    np.testing.assert_allclose(second.z, long.z, rtol=1e-10)
    assert int(long.status) == RUNNING


@eqx.filter_jit
def climb(start):
    return minimize(FIT, start, optimizer=optax.sgd(5.0), steps=10)


def test_jit_and_vmap_over_starts_are_a_loop():
    starts = jnp.asarray(RNG.normal(size=(3, 3)))
    together = eqx.filter_jit(jax.vmap(climb))(starts)
    for i, start in enumerate(starts):
        alone = climb(start)
        np.testing.assert_allclose(together.z[i], alone.z, rtol=1e-9)
        np.testing.assert_allclose(together.history[i], alone.history, rtol=1e-9)
    eager = minimize(FIT, starts[0], optimizer=optax.sgd(5.0), steps=10)
    np.testing.assert_allclose(eager.z, climb(starts[0]).z, rtol=1e-12)


def test_z_may_be_a_tree():
    both = bilevel(lambda z: inner(z["a"] + z["b"]), lambda z, w: outer(z, w), Newton())
    result = minimize(both, {"a": jnp.zeros(3), "b": OPTIMUM}, optimizer=optax.sgd(1.0), steps=3)
    assert float(result.value) < 1e-20
    np.testing.assert_array_equal(result.z["a"], np.zeros(3))


def test_an_inner_failure_stops_the_run_with_its_code():
    slow = bilevel(inner, outer, Newton(max_steps=0))
    with pytest.raises(SolveError, match=r"^z0: .*could not be solved.*max_steps"):
        minimize(slow, jnp.zeros(3), steps=5)
    result = eqx.filter_jit(lambda z: minimize(slow, z, steps=5))(jnp.zeros(3))
    assert int(result.status) == INNER_FAILED
    assert int(result.state.inner_result) != 0
    assert "max_steps" in result.message
    assert float(result.value) == np.inf


def test_nan_in_the_outer_objective_stops_the_run():
    broken = bilevel(inner, lambda z, w: jnp.log(-jnp.sum(w * w)), Newton())
    with pytest.raises(SolveError, match=r"^z0: .*NaN"):
        minimize(broken, jnp.zeros(3), steps=5)
    later = bilevel(inner, lambda z, w: jnp.log(0.5 - jnp.sum(z)), Newton())
    result = minimize(later, jnp.zeros(3), optimizer=optax.sgd(0.05), steps=5)
    assert int(result.status) == NOT_FINITE
    assert int(result.steps) > 1
    np.testing.assert_allclose(result.value, np.log(0.2))  # the best point seen


def test_no_steps_is_a_sentence():
    with pytest.raises(ValueError, match=r"^steps: got 0"):
        minimize(FIT, jnp.zeros(3), steps=0)


def weighed(z):
    return 0.5 * jnp.sum(jnp.asarray([1.0, 6.0]) * z * z)


def test_a_return_to_the_best_point_forgets_the_momentum():
    """The loop by hand, on a quadratic that momentum overshoots."""
    rate, momentum, patience, shrink = 0.3, 0.95, 2, 0.5
    found = minimize(
        weighed, jnp.asarray([2.0, 1.0]), optimizer=optax.sgd(rate, momentum=momentum), steps=25,
        patience=patience, shrink=shrink, floor=1e-3,
    )  # fmt: skip
    z, v, best, lowest = np.array([2.0, 1.0]), np.zeros(2), np.zeros(2), np.inf
    scale, stall, values, returns = 1.0, 0, [], 0
    for _ in range(25):
        value = 0.5 * np.sum([1, 6] * z * z)
        values.append(value)
        if value < lowest - 1e-6:
            best, lowest, stall = z, value, 0
        else:
            stall += 1
        if stall >= patience:
            z, v, scale, stall, returns = best, np.zeros(2), scale * shrink, 0, returns + 1
        v = momentum * v + [1, 6] * z
        z = z - scale * rate * v
    assert returns > 1
    np.testing.assert_allclose(found.history, values, rtol=1e-10)


@pytest.mark.parametrize("cut", [0, 4])
def test_steps_of_an_ascent_fall_from_the_first_length_to_the_last(cut):
    """In one run, and in a run cut in two that `over` makes one fall."""
    first, last, steps = 2.0, 0.1, 6
    slope = jnp.asarray([3.0, -4.0])
    options = {
        "optimizer": Ascent(first=first, last=last, over=steps),
        "record": lambda step: step.z,
    }
    if not cut:
        options["optimizer"] = Ascent(first=first, last=last)
    run = maximize(lambda z: slope @ z, jnp.zeros(2), steps=cut or steps, **options)
    path = np.asarray(run.history)
    if cut:
        run = maximize(
            lambda z: slope @ z, jnp.zeros(2), steps=steps - cut, state=run.state, **options
        )
        path = np.concatenate([path, run.history])
    moves = np.diff([*path, np.asarray(run.state.z)], axis=0)
    lengths = first * (last / first) ** (np.arange(steps) / (steps - 1))
    np.testing.assert_allclose(moves, lengths[:, None] * [0.6, -0.8], rtol=1e-10)


def test_a_value_may_be_more_precise_than_its_point():
    def score(z):
        return -jnp.sum((z.astype(jnp.float64) - 1 / 3) ** 2)

    result = maximize(score, jnp.zeros(2, jnp.float32), steps=5)
    assert result.z.dtype == jnp.float32
    assert result.value.dtype == jnp.float64
    assert result.value == score(result.z) > score(jnp.zeros(2, jnp.float32))
