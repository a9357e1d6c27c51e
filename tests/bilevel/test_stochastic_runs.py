"""Stochastic bilevel methods as whole runs: where they end, resuming, batches, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_stochastic import (
    FEATURES,
    FULL,
    METHODS,
    PARTS,
    RNG,
    W,
    Z,
    adjoint,
    every_method,
    flat,
    inner,
    outer,
    solution,
)

import bilevel
from bilevel.solvers import Newton
from bilevel.stochastic._loop import (
    ADJOINT_DIVERGED,
    INNER_DIVERGED,
    OUTER_DIVERGED,
    RUNNING,
    minimize,
)
from bilevel.stochastic._problem import StochasticBilevel
from bilevel.stochastic.amigo import AmIGO
from bilevel.stochastic.f2sa import F2SA
from bilevel.stochastic.saba import SABA
from bilevel.stochastic.soba import SOBA
from bilevel.stochastic.stocbio import StocBiO

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
        return np.linalg.norm(flat((at.inner, at.adjoint)) - flat((solution(), adjoint())))

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
