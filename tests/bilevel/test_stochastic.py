"""Stochastic bilevel methods: exact where they claim it, unbiased, and all to one solution."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import bilevel
from bilevel import argmin
from bilevel.problems import Smooth
from bilevel.solvers import Newton
from bilevel.stochastic._loop import (
    ADJOINT_DIVERGED,
    INNER_DIVERGED,
    OUTER_DIVERGED,
    RUNNING,
    minimize,
)
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
    value, gradient = jax.value_and_grad(lambda z: EXACT.evaluate(z)[0])(Z)
    w = argmin(EXACT.pose(Z).problem, solver=Newton(), throw=False).value
    w_flat, unravel = ravel_pytree(w)
    hessian = jax.hessian(lambda w: inner(Z, unravel(w), FULL.inner_data))(w_flat)
    slope = jax.grad(lambda w: outer(Z, unravel(w), FULL.outer_data))(w_flat)
    v = unravel(-jnp.linalg.solve(hessian, slope))

    def penalised(y, args):
        return outer(Z, y, FULL.outer_data) / args + inner(Z, y, FULL.inner_data)

    y = argmin(Smooth(penalised, w, multiplier), solver=Newton(), throw=False).value
    return value, gradient, w, v, y


VALUE, GRADIENT, SOLUTION, ADJOINT, _ = solved(jnp.asarray(1.0))


@eqx.filter_jit
def directions(problem, method, at, key):
    """From a memory filled at `at`, where a method keeps one."""
    _, memory = method.init(problem, at.outer, at.inner)
    return method.directions(problem, at, memory, RATES, key)[0]


@pytest.mark.parametrize("name", ["soba", "saba", "amigo", "stocbio"])
def test_with_all_rows_at_the_inner_solution_the_outer_direction_is_the_hypergradient(name):
    adjoint = () if name == "stocbio" else ADJOINT
    found = directions(FULL, METHODS[name], Triple(SOLUTION, adjoint, Z), jax.random.key(0))
    np.testing.assert_allclose(flat(found.outer), flat(GRADIENT), atol=1e-11)
    assert np.linalg.norm(flat(GRADIENT)) > 1e-2
    assert all(np.abs(flat(d)).max(initial=0) < 1e-11 for d in (found.inner, found.adjoint))


def test_f2sa_is_off_by_one_over_lambda():
    errors = []
    for multiplier in (50.0, 100.0, 200.0, 400.0):
        y = solved(jnp.asarray(multiplier))[4]
        method = F2SA(jnp.asarray(multiplier))
        found = directions(FULL, method, Triple(SOLUTION, y, Z), jax.random.key(0))
        np.testing.assert_allclose(flat(found.adjoint), 0, atol=1e-11)
        errors.append(np.linalg.norm(flat(found.outer) - flat(GRADIENT)))
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 2.0, rtol=0.02)
    assert errors[-1] < 0.01 * np.linalg.norm(flat(GRADIENT))


def test_stocbios_bias_falls_with_the_terms():
    at = Triple(SOLUTION, (), Z)
    few, more = (
        np.linalg.norm(
            flat(directions(FULL, StocBiO(1, terms), at, jax.random.key(0)).outer) - flat(GRADIENT)
        )
        for terms in (20, 40)
    )
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
def sabas_memory():
    """After 60 visits at (SOLUTION, V, Z): up to date there, on all parts."""
    at = Triple(SOLUTION, V, Z)

    def visit(memory, key):
        return SABA().directions(PARTS, at, memory, RATES, key)[1], None

    _, memory = SABA().init(PARTS, Z, SOLUTION)
    return jax.lax.scan(visit, memory, jax.random.split(jax.random.key(2), 60))[0]


def test_sabas_noise_vanishes_where_its_table_is_up_to_date():
    at = Triple(SOLUTION, V, Z)
    full = flat(directions(FULL, SOBA(), at, jax.random.key(0)))
    assert np.abs(many(SABA(), at, sabas_memory()) - full[None]).max() < 1e-13
    assert np.abs(many(SOBA(), at, ()) - full[None]).max() > 0.1


def test_sabas_estimate_is_unbiased_from_an_old_table():
    at = Triple(W, V, Z)
    full = flat(directions(FULL, SOBA(), at, jax.random.key(0)))
    found = many(SABA(), at, sabas_memory())
    error = found.std(axis=0) / np.sqrt(len(found))
    assert np.all(np.abs(found.mean(axis=0) - full) <= 5 * error + 1e-14)
    assert error.max() > 1e-3


# Tuning the penalty per feature of a ridge regression, in a box.
SAMPLES, DIMENSION = 400, 20


def _ridge_rows(true):
    x = RNG.normal(size=(SAMPLES, DIMENSION))
    return x, x @ true + RNG.normal(size=SAMPLES)


def squares(w, rows):
    x, y = rows
    return 0.5 * jnp.mean((x @ w - y) ** 2)


def ridge(z, w, rows):
    return squares(w, rows) + 0.5 * jnp.sum(jnp.exp(z) * w * w)


def prediction(z, w, rows):
    del z
    return squares(w, rows)


def box(z):
    return jnp.clip(z, -3.0, 0.0)


TRUE = np.where(np.arange(DIMENSION) < 8, RNG.normal(size=DIMENSION), 0.0)
TUNING = StochasticBilevel(ridge, prediction, _ridge_rows(TRUE), _ridge_rows(TRUE), 20, 20)
START, COLD = jnp.full(DIMENSION, -1.0), jnp.zeros(DIMENSION)
JUDGE = TUNING.exact(Newton(), COLD)


def fall(size, after):
    """A schedule: size / (1 + t / after)^0.6."""
    return lambda step: size / (1 + step / after) ** 0.6


RUNS = {
    "soba": (SOBA(), 30_000, fall(0.1, 300), fall(10.0, 300), None),
    "saba": (SABA(), 30_000, 0.1, 10.0, None),
    "amigo": (AmIGO(), 4000, fall(0.1, 100), fall(20.0, 100), None),
    "stocbio": (StocBiO(terms=20), 4000, fall(0.1, 100), fall(20.0, 100), 0.2),
    "f2sa": (F2SA(30.0, growth=0.1), 4000, fall(0.1, 100), fall(20.0, 100), None),
}


def tune(name, **options):
    """A hundred rows of history whatever the steps: all calls of a name share their program."""
    method, steps, inner_step, outer_step, adjoint_step = RUNS[name]
    return minimize(
        TUNING, START, COLD, method=method, inner_step=inner_step, outer_step=outer_step,
        adjoint_step=adjoint_step, project=box, **{"steps": steps, **options},
    )  # fmt: skip


@pytest.fixture(scope="module")
def optimum():
    """The outer objective, and how far above its least value a z is, as a share of the start."""
    with jax.numpy_dtype_promotion("standard"):
        best = bilevel.minimize(
            JUDGE, START, optimizer=optax.adam(0.1), steps=400, project=box, patience=400, tol=0.0
        )
    value = jax.jit(lambda z: JUDGE.evaluate(z)[0])
    height = value(START) - best.value
    return best, lambda z: float((value(z) - best.value) / height)


# share of the start's suboptimality that is left
LEFT = {"soba": 0.01, "saba": 1e-4, "amigo": 0.01, "stocbio": 0.01, "f2sa": 0.01}


@pytest.mark.parametrize("name", RUNS)
def test_all_methods_tune_a_ridge_regression_to_the_exact_optimum(name, optimum):
    best, left = optimum
    result = tune(name)
    assert int(result.status) == RUNNING
    assert left(START) == 1.0
    assert abs(left(result.average)) < LEFT[name]
    assert abs(left(result.z)) < 2 * LEFT[name]
    # features with signal keep a small penalty, where the objective is not flat
    clear = np.abs(TRUE) > 0.5
    assert clear.sum() >= 3
    np.testing.assert_allclose(result.average[clear], best.z[clear], atol=0.25)
    assert result.history.shape == (100, DIMENSION)
    np.testing.assert_array_equal(result.history[-1], result.z)


def run(method, steps, key=None, **options):
    """One row of history whatever the steps, so that all calls share a compiled program."""
    options = {"inner_step": 0.3, "outer_step": 0.1, **options}
    return minimize(PARTS, Z, W, method=method, steps=steps, every=steps, key=key, **options)


def test_saba_converges_with_constant_steps_where_soba_stalls():
    def distance(method):
        at = run(method, 3000, outer_step=0.0).state.at
        return np.linalg.norm(flat((at.inner, at.adjoint)) - flat((SOLUTION, ADJOINT)))

    assert distance(SABA()) < 1e-10
    assert distance(SOBA()) > 1e-2


@pytest.mark.parametrize("name", RUNS)
def test_resuming_is_one_long_run(name):
    whole, first = tune(name, steps=200), tune(name, steps=100)
    second = tune(name, steps=100, state=first.state)
    np.testing.assert_allclose(flat(second.state.at), flat(whole.state.at), rtol=1e-10)
    np.testing.assert_allclose(second.average, whole.average, rtol=1e-10)
    assert (int(second.steps), int(second.state.step)) == (100, 200)
    np.testing.assert_allclose(second.history[1::2], whole.history[50:], rtol=1e-10)
    assert np.abs(first.z - whole.z).max() > 1e-3


@pytest.mark.parametrize(
    "name", ["saba", *(pytest.param(n, marks=pytest.mark.slow) for n in RUNS if n != "saba")]
)
def test_vmap_over_keys_is_a_loop(name):
    keys = jax.random.split(jax.random.key(4), 2)
    together = jax.vmap(lambda key: tune(name, steps=100, key=key).z)(keys)
    for i in range(2):
        alone = tune(name, steps=100, key=keys[i]).z
        np.testing.assert_allclose(together[i], alone, rtol=1e-10)
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_jit_with_traced_data_is_the_same_run():
    @jax.jit
    def traced(rows, z):
        problem = StochasticBilevel(inner, outer, rows, FULL.outer_data, 6, 6)
        return minimize(
            problem, z, W, method=SOBA(), inner_step=0.3, outer_step=0.1, steps=4, every=4
        ).z

    np.testing.assert_allclose(flat(traced(FULL.inner_data, Z)), flat(run(SOBA(), 4).z), rtol=1e-12)


def test_schedules_see_the_step_the_projection_holds_and_the_average_is_as_told():
    result = minimize(
        FULL, Z, W, method=SOBA(), inner_step=optax.exponential_decay(0.5, 1, 0.5), steps=4,
        outer_step=lambda step: jnp.where(step == 1, 0.7, 0.0), every=1,
        project=lambda z: jax.tree.map(lambda leaf: jnp.clip(leaf, -1.5, 0.3), z),
        record=lambda state: state.at,
    )  # fmt: skip
    path = result.history
    assert np.all((flat(path.outer) >= -1.5) & (flat(path.outer) <= 0.3))
    log_l2 = np.asarray(path.outer["log_l2"])
    start = np.clip(Z["log_l2"], -1.5, 0.3)
    np.testing.assert_array_equal(log_l2[0], start)
    assert np.any(log_l2[1] != start)
    np.testing.assert_array_equal(log_l2[3], log_l2[1])
    slope = jax.grad(inner, 1)({"log_l2": start, "shift": 0.3}, W, FULL.inner_data)
    np.testing.assert_allclose(path.inner["bias"][0], -0.5 * slope["bias"], rtol=1e-13)
    mean = 0.0
    for t, z in enumerate(log_l2, start=1):
        mean = (1 - 4 / (t + 3)) * mean + 4 / (t + 3) * z
    np.testing.assert_allclose(result.average["log_l2"], mean, rtol=1e-13)


@pytest.mark.parametrize(
    ("sizes", "status", "word"),
    [
        ((1e3, 0.0, 0.0), INNER_DIVERGED, "inner_step"),
        ((0.0, 1e3, 0.0), ADJOINT_DIVERGED, "adjoint_step"),
        ((0.0, 0.0, np.finfo(float).max), OUTER_DIVERGED, "outer_step"),
    ],
)
def test_a_run_that_diverges_stops_at_its_last_finite_point_and_says_why(sizes, status, word):
    names = ("inner_step", "adjoint_step", "outer_step")
    result = minimize(
        FULL, {**Z, "log_l2": Z["log_l2"] + 9}, {**W, "bias": jnp.asarray(50.0)}, method=SOBA(),
        steps=2000, every=500, **dict(zip(names, sizes, strict=True)),
    )  # fmt: skip
    assert int(result.status) == status
    assert word in result.message
    assert int(result.steps) < 2000
    assert np.all(np.isfinite(flat(result.state.at)))
    assert np.all(np.isfinite(flat(result.average)))
    assert np.all(np.isnan(np.asarray(result.history["shift"])[-1]))
    again = minimize(
        FULL, Z, W, method=SOBA(), steps=2000, every=500, state=result.state,
        **dict(zip(names, sizes, strict=True)),
    )  # fmt: skip
    assert (int(again.steps), int(again.status)) == (0, status)


DATA = FULL.inner_data


@pytest.mark.parametrize(
    ("sentence", "wrong"),
    [
        (
            r"^inner_batch: got 25, expected 1 to 24",
            lambda: StochasticBilevel(inner, outer, DATA, DATA, inner_batch=25),
        ),
        (
            r"^outer_batch: got 0, expected 1 to 24",
            lambda: StochasticBilevel(inner, outer, DATA, DATA, outer_batch=0),
        ),
        (
            r"^inner_data: got leaves of shapes .* leading axis",
            lambda: StochasticBilevel(inner, outer, {**DATA, "y": DATA["y"][1:]}, DATA),
        ),
        (
            r"^outer_data: got leaves of shapes \[\(\)\]",
            lambda: StochasticBilevel(inner, outer, DATA, 1.0),
        ),
        (
            r"^outer_data: has no rows",
            lambda: StochasticBilevel(inner, outer, DATA, np.zeros((0, 2))),
        ),
        (r"^steps: got 0", lambda: run(SOBA(), 0)),
        (r"^inner_step: got -1.0", lambda: run(SOBA(), 4, inner_step=-1.0)),
        (r"^outer_step: got nan", lambda: run(SOBA(), 4, outer_step=float("nan"))),
        (r"^inner_steps: got 0", lambda: AmIGO(inner_steps=0)),
        (r"^adjoint_steps: got 0", lambda: AmIGO(adjoint_steps=0)),
        (r"^terms: got 0", lambda: StocBiO(terms=0)),
        (r"^multiplier: got 0", lambda: F2SA(multiplier=0.0)),
        (
            r"^inner_batch: got 7, which does not divide the 24 rows.* take 6 or 8",
            lambda: minimize(
                StochasticBilevel(inner, outer, DATA, DATA, 7), Z, W,
                method=SABA(), inner_step=0.1, outer_step=0.1,
            ),
        ),
        (
            r"^z0: has NaN",
            lambda: minimize(
                FULL, {**Z, "shift": jnp.nan}, W, method=SOBA(), inner_step=0.1, outer_step=0.1
            ),
        ),
        (
            r"^w0: got leaves of dtypes \['float64', 'int64'\]",
            lambda: minimize(
                FULL, Z, {**W, "slope": jnp.arange(FEATURES)}, method=SOBA(), inner_step=0.1,
                outer_step=0.1,
            ),
        ),
        (
            r"^outer: returns .* expected a scalar",
            lambda: minimize(
                StochasticBilevel(inner, lambda z, w, rows: rows["y"] * w["bias"], DATA, DATA),
                Z, W, method=SOBA(), inner_step=0.1, outer_step=0.1,
            ),
        ),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence(sentence, wrong):
    with pytest.raises(ValueError, match=sentence):
        wrong()


@every_method
def test_float32_stays_float32(name):
    data, z, w = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (FULL.inner_data, Z, W))

    def trace(z, w):
        problem = StochasticBilevel(inner, outer, data, data, 6, 6)
        return minimize(
            problem, z, w, method=METHODS[name], inner_step=0.1, outer_step=lambda step: 0.1
        ).state  # fmt: skip

    state = jax.eval_shape(trace, z, w)
    floating = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert {str(leaf.dtype) for leaf in floating} == {"float32"}
