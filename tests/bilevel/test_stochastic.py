"""Stochastic bilevel methods: exact where they claim it, unbiased, and all to one solution."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from bilevel import argmin
from bilevel.problems import Smooth
from bilevel.solvers import Newton
from bilevel.stochastic._method import Triple, block, draw
from bilevel.stochastic._problem import StochasticBilevel
from bilevel.stochastic.amigo import AmIGO
from bilevel.stochastic.f2sa import F2SA
from bilevel.stochastic.saba import SABA
from bilevel.stochastic.soba import SOBA
from bilevel.stochastic.stocbio import StocBiO

RNG = np.random.default_rng(0)
METHODS = {
    "soba": SOBA(),
    "saba": SABA(),
    "amigo": AmIGO(inner_steps=3, adjoint_steps=3),
    "stocbio": StocBiO(inner_steps=3, terms=150),
    "f2sa": F2SA(1e3, inner_steps=3),
}
every_method = pytest.mark.parametrize("name", METHODS)
RATES = Triple(jnp.asarray(0.5), jnp.asarray(0.5), jnp.asarray(0.1))

# Logistic regression with a penalty per feature, a shift of the margins that is an outer variable,
# and an outer objective that depends on z directly too: every term of the hypergradient counts.
ROWS, FEATURES = 24, 4


def _logistic_rows(count):
    x = RNG.normal(size=(count, FEATURES))
    return {"x": x, "y": np.sign(x[:, 0] - x[:, 1] + RNG.normal(size=count))}


def inner(z, w, rows):
    margin = rows["y"] * (rows["x"] @ w["slope"] + w["bias"] - z["shift"])
    penalty = jnp.sum(jnp.exp(z["log_l2"]) * w["slope"] ** 2) + w["bias"] ** 2
    return jnp.mean(jnp.logaddexp(0.0, -margin)) + 0.5 * penalty


def outer(z, w, rows):
    margin = rows["y"] * (rows["x"] @ w["slope"] + w["bias"])
    return jnp.mean(jnp.logaddexp(0.0, -margin)) + jnp.mean(z["log_l2"] * z["shift"]) ** 2


FULL = StochasticBilevel(inner, outer, _logistic_rows(ROWS), _logistic_rows(ROWS - 6))
PARTS = StochasticBilevel(inner, outer, FULL.inner_data, FULL.outer_data, 6, 6)
Z = {"log_l2": jnp.asarray([-1.0, -2.0, 0.0, -0.5]), "shift": jnp.asarray(0.4)}
W = {"slope": jnp.zeros(FEATURES), "bias": jnp.zeros(())}
V = {"slope": jnp.asarray(RNG.normal(size=FEATURES)), "bias": jnp.asarray(0.3)}
EXACT = FULL.exact(Newton(), W)


def flat(tree):
    return np.asarray(ravel_pytree(tree)[0])


@eqx.filter_jit
def solved(multiplier):
    """The hypergradient, w*, its exact adjoint, and the penalised minimiser y at Z."""
    gradient = jax.grad(lambda z: EXACT.evaluate(z)[0])(Z)
    w = argmin(EXACT.pose(Z).problem, solver=Newton(), throw=False).value
    w_flat, unravel = ravel_pytree(w)
    hessian = jax.hessian(lambda w: inner(Z, unravel(w), FULL.inner_data))(w_flat)
    slope = jax.grad(lambda w: outer(Z, unravel(w), FULL.outer_data))(w_flat)
    v = unravel(-jnp.linalg.solve(hessian, slope))

    def penalised(y, args):
        return outer(Z, y, FULL.outer_data) / args + inner(Z, y, FULL.inner_data)

    y = argmin(Smooth(penalised, w, multiplier), solver=Newton(), throw=False).value
    return gradient, w, v, y


@functools.cache
def at_z():
    return solved(jnp.asarray(1.0))


def gradient():
    return at_z()[0]


def solution():
    return at_z()[1]


def adjoint():
    return at_z()[2]


@eqx.filter_jit
def directions(problem, method, at, key):
    """From a memory filled at `at`, where a method keeps one."""
    _, memory = method.init(problem, at.outer, at.inner)
    return method.directions(problem, at, memory, RATES, key)[0]


@pytest.mark.parametrize("name", ["soba", "saba", "amigo", "stocbio"])
def test_with_all_rows_at_the_inner_solution_the_outer_direction_is_the_hypergradient(name):
    v = () if name == "stocbio" else adjoint()
    found = directions(FULL, METHODS[name], Triple(solution(), v, Z), jax.random.key(0))
    np.testing.assert_allclose(flat(found.outer), flat(gradient()), atol=1e-11)
    assert np.linalg.norm(flat(gradient())) > 1e-2
    assert all(np.abs(flat(d)).max(initial=0) < 1e-11 for d in (found.inner, found.adjoint))


def test_f2sa_is_off_by_one_over_lambda():
    errors = []
    for multiplier in (50.0, 100.0, 200.0, 400.0):
        y = solved(jnp.asarray(multiplier))[3]
        method = F2SA(jnp.asarray(multiplier))
        found = directions(FULL, method, Triple(solution(), y, Z), jax.random.key(0))
        np.testing.assert_allclose(flat(found.adjoint), 0, atol=1e-11)
        errors.append(np.linalg.norm(flat(found.outer) - flat(gradient())))
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 2.0, rtol=0.02)
    assert errors[-1] < 0.01 * np.linalg.norm(flat(gradient()))


def test_stocbios_bias_falls_with_the_terms():
    at = Triple(solution(), (), Z)
    found = (directions(FULL, StocBiO(1, terms), at, jax.random.key(0)) for terms in (20, 40))
    few, more = (np.linalg.norm(flat(one.outer) - flat(gradient())) for one in found)
    assert 1e-6 < more < 0.2 * few


@eqx.filter_jit
def on_parts(at):
    """SOBA's directions on each pair of parts of a partition: a full problem of those rows."""

    def pair(i, j):
        rows = block(PARTS.inner_data, PARTS.inner_batch, i)
        outer_rows = block(PARTS.outer_data, PARTS.outer_batch, j)
        problem = StochasticBilevel(inner, outer, rows, outer_rows)
        return SOBA().directions(problem, at, (), RATES, jax.random.key(0))[0]

    return jax.vmap(lambda i: jax.vmap(lambda j: pair(i, j))(jnp.arange(3)))(jnp.arange(4))


def test_sobas_directions_average_to_the_full_ones_over_a_partition():
    at = Triple(W, V, Z)
    parts = on_parts(at)
    full = directions(FULL, SOBA(), at, jax.random.key(0))
    mean = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=(0, 1)), parts)
    np.testing.assert_allclose(flat(mean), flat(full), atol=1e-14)
    assert np.ptp(np.asarray(parts.inner["bias"])) > 0.05  # the parts do differ


def test_a_partition_holds_each_row_once_and_spreads_sorted_ones():
    rows = jnp.arange(12)
    parts = [np.asarray(block(rows, 4, jnp.asarray(i))) for i in range(3)]
    assert sorted(np.concatenate(parts)) == list(range(12))
    assert all(np.ptp(part) >= 9 for part in parts)


def test_drawn_rows_are_uniform_and_all_rows_are_all_rows():
    rows = {"x": jnp.arange(10.0)}
    keys = jax.random.split(jax.random.key(0), 4000)
    drawn = jax.vmap(lambda key: draw(rows, 3, key)["x"])(keys)
    counts = np.bincount(np.asarray(drawn).astype(int).ravel(), minlength=10)
    assert counts.shape == (10,)
    assert np.all(np.abs(counts - 1200) < 5 * np.sqrt(1200))
    for batch in (None, 10):
        np.testing.assert_array_equal(draw(rows, batch, jax.random.key(0))["x"], rows["x"])


@every_method
def test_each_mean_over_rows_has_the_batch_size_of_its_level(name):
    seen = set()

    def counted(level, mean):
        def with_rows(z, w, rows):
            seen.add((level, len(rows["x"])))
            return mean(z, w, rows)

        return with_rows

    functions = counted("inner", inner), counted("outer", outer)
    problem = StochasticBilevel(*functions, FULL.inner_data, FULL.outer_data, 6, 9)
    method = METHODS[name]

    def first(z, w, key):
        v, memory = method.init(problem, z, w)
        return method.directions(problem, Triple(w, v, z), memory, RATES, key)

    jax.eval_shape(first, Z, W, jax.random.key(0))  # traced, and not compiled
    assert seen == {("inner", 6), ("outer", 9)}


# Row j of the identity alone has curvature, and that in coordinate j: with steps of length one,
# what a coordinate is left with says when its row was drawn.
def alone(z, w, rows):
    return 0.5 * jnp.mean((rows @ w) ** 2) + z @ w


EYE = StochasticBilevel(alone, lambda z, w, rows: jnp.sum(w), np.eye(FEATURES), np.ones(2), 1)
UNIT = Triple(jnp.ones(()), jnp.ones(()), jnp.ones(()))
LENGTH = 12


@pytest.mark.parametrize("method", [StocBiO(LENGTH, LENGTH), AmIGO(LENGTH, LENGTH)])
def test_each_step_and_each_term_has_a_mini_batch_of_its_own(method):
    zero, ones = jnp.zeros(FEATURES), jnp.ones(FEATURES)
    for seed in range(3):
        found = eqx.filter_jit(method.directions)(
            EYE, Triple(zero, zero, ones), (), UNIT, jax.random.key(seed)
        )[0]
        # Of w: a step that draws a coordinate sets it to -1, any other takes 1 off. So of AmIGO's
        # v, the outer direction here. StocBiO's sums the terms of a coordinate until its row.
        for moves in (np.asarray(found.inner), -np.asarray(found.outer)):
            drawn = moves[moves < LENGTH]
            assert len(drawn) >= 3
            assert len(set(drawn)) == len(drawn)  # no two coordinates in one step
            assert drawn.min() == 1


@eqx.filter_jit
def _many(method, at, memory):
    keys = jax.random.split(jax.random.key(1), 4000)

    def one(key):
        return ravel_pytree(method.directions(PARTS, at, memory, RATES, key)[0])[0]

    return jax.vmap(one)(keys)


def many(method, at, memory):
    """The directions of 4000 draws, a row each."""
    return np.asarray(_many(method, at, memory))


def test_sobas_draws_are_unbiased_too():
    at = Triple(W, V, Z)
    full = flat(directions(FULL, SOBA(), at, jax.random.key(0)))
    found = many(SOBA(), at, ())
    error = found.std(axis=0) / np.sqrt(len(found))
    assert np.all(np.abs(found.mean(axis=0) - full) <= 5 * error + 1e-14)
    assert error.max() > 1e-3


@eqx.filter_jit
def sabas_memory(at):
    """After 60 visits: up to date there, on all parts."""

    def visit(memory, key):
        return SABA().directions(PARTS, at, memory, RATES, key)[1], None

    _, memory = SABA().init(PARTS, at.outer, at.inner)
    return jax.lax.scan(visit, memory, jax.random.split(jax.random.key(2), 60))[0]


def test_sabas_noise_vanishes_where_its_table_is_up_to_date():
    at = Triple(solution(), V, Z)
    full = flat(directions(FULL, SOBA(), at, jax.random.key(0)))
    assert np.abs(many(SABA(), at, sabas_memory(at)) - full[None]).max() < 1e-13
    assert np.abs(many(SOBA(), at, ()) - full[None]).max() > 0.1


def test_sabas_estimate_is_unbiased_from_an_old_table():
    at = Triple(W, V, Z)
    full = flat(directions(FULL, SOBA(), at, jax.random.key(0)))
    found = many(SABA(), at, sabas_memory(Triple(solution(), V, Z)))
    error = found.std(axis=0) / np.sqrt(len(found))
    assert np.all(np.abs(found.mean(axis=0) - full) <= 5 * error + 1e-14)
    assert error.max() > 1e-3


# Tuning the penalty per feature of a ridge regression, in a box.


def test_the_series_of_stocbio_has_the_terms_from_zero_on():
    curved, slope = jnp.asarray([2.0, 0.5]), jnp.asarray([1.0, -3.0])
    problem = StochasticBilevel(
        lambda z, w, rows: jnp.sum(0.5 * curved * w * w - z * w),
        lambda z, w, rows: jnp.sum(slope * w),
        jnp.ones(2), jnp.ones(2),
    )  # fmt: skip
    at, key = Triple(jnp.zeros(2), (), jnp.zeros(2)), jax.random.key(0)
    found, _ = StocBiO(1, 3).directions(problem, at, (), RATES, key)
    series = sum((1 - 0.5 * curved) ** i for i in range(4))
    np.testing.assert_allclose(found.outer, 0.5 * series * slope, rtol=1e-12)
