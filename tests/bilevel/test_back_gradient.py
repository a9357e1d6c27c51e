"""Momentum in integers, its exact reversal, and the approximate one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from benchmarks.experiments.hypergradients import memory
from bilevel import SolveError, argmin
from bilevel.derivatives.approximate_reversal import ApproximateReversal
from bilevel.derivatives.back_gradient import BackGradient
from bilevel.derivatives.unroll import Unroll
from bilevel.problems import Smooth, Stochastic
from bilevel.results import OUT_OF_RANGE, SENTENCES
from bilevel.solvers.path._fixed_point import Phase, at_rest, back, before, forth, stride
from bilevel.solvers.path.descent import Descent
from bilevel.solvers.path.momentum import Momentum

STEPS = 400  # more than a word of bits holds at a decay of .9
DRAW = np.random.default_rng(0)
X, Y = DRAW.normal(size=(40, 5)), np.tanh(DRAW.normal(size=40))
KEY = jax.random.key(1)
Z = jax.tree.map(
    jnp.asarray,
    {
        "x": X,
        "y": Y,
        "l2": np.array(-5.0),
        "start": {"a": DRAW.normal(size=(5, 6)) / 2, "b": DRAW.normal(size=6) / 2},
        "rate": np.full(STEPS, 0.05),
    },
)


def predict(w, x):
    return jnp.tanh(x @ w["a"]) @ w["b"]


def penalty(w, l2):
    return jnp.exp(l2) * (jnp.sum(w["a"] ** 2) + jnp.sum(w["b"] ** 2))


def loss(w, args, key):
    """On a mini-batch of 8 rows."""
    x, y, l2 = args
    rows = jax.random.choice(key, 40, (8,), replace=False)
    return jnp.mean((predict(w, x[rows]) - y[rows]) ** 2) + penalty(w, l2)


def problem(z):
    return Stochastic(loss, z["start"], (z["x"], z["y"], z["l2"]), KEY)


def score(w):
    return jnp.sum(jnp.tanh(w["a"]) * jnp.arange(6.0)[None]) + jnp.sum(w["b"] ** 2)


def outer(z, derivative):
    solver = Momentum(steps=STEPS, rate=z["rate"])
    return score(argmin(problem(z), solver=solver, derivative=derivative).value)


@jax.jit
def value_and_grad(z):
    return jax.value_and_grad(outer)(z, BackGradient())


@jax.jit
def oracle(z):
    return jax.value_and_grad(outer)(z, Unroll())


def error(a, b):
    return np.linalg.norm(np.subtract(a, b)) / np.linalg.norm(b)


def inner(a, b):
    return float(sum(np.vdot(x, y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True)))


# ---- the integers


@pytest.mark.parametrize("numerator", [1, 128, 230, 255])
def test_a_step_in_integers_is_undone_to_the_last_bit(numerator):
    rng = np.random.default_rng(numerator)
    steps = stride(numerator)
    first = at_rest(jnp.asarray(rng.normal(size=50)))
    first = Phase(first.w, jnp.asarray(rng.integers(-(2**60), 2**60, 50)), first.bits)
    pushes = jnp.asarray(rng.normal(size=(steps, 50)))

    @jax.jit
    def there_and_back(phase):
        out, _ = jax.lax.scan(lambda s, p: (forth(s, p, numerator), None), phase, pushes)
        undo = lambda s, p: (back(before(s), p, numerator), None)  # noqa: E731
        return out, jax.lax.scan(undo, out, pushes, reverse=True)[0]

    out, again = there_and_back(first)
    assert eqx.tree_equal(again, first)
    assert not bool(jnp.any(out.w == first.w))


@pytest.mark.parametrize("numerator", [1, 128, 230, 255])
def test_bits_never_overflow_their_word(numerator):
    # Python's integers do not wrap: the worst remainders for as many steps as a word must hold.
    bits = 0
    for _ in range(stride(numerator)):
        assert bits * 256 + 255 < 2**64
        bits = (bits * 256 + 255) // numerator
    assert bits * 256 + 255 >= 2**64  # one more would not be sure to fit


def test_the_integer_path_is_that_of_optax():
    start = problem(Z).start
    ours = argmin(problem(Z), solver=Momentum(steps=STEPS, rate=0.05)).value
    theirs = argmin(
        problem(Z), solver=Descent(optimizer=optax.sgd(0.05, momentum=230 / 256), steps=STEPS)
    ).value
    assert error(ravel_pytree(ours)[0], ravel_pytree(theirs)[0]) < 1e-12
    assert error(ravel_pytree(ours)[0], ravel_pytree(start)[0]) > 0.1


@pytest.mark.parametrize("steps", [1, STEPS])
def test_the_way_back_ends_at_the_start_bit_for_bit(steps):
    flat, track = Momentum(steps=steps, rate=0.05).track(problem(Z), Z["start"])
    moving = jax.tree.map(eqx.is_inexact_array, track)

    @jax.jit
    def closes(flat, spoil):
        arrival, _ = track.out(flat)
        phase = arrival.phase
        phase = Phase(phase.w.at[0].add(spoil[0]), phase.v.at[1].add(spoil[1]), phase.bits)
        words = arrival.words.at[-1, 2].add(spoil[2].astype(jnp.uint64))
        arrival = eqx.tree_at(lambda a: (a.phase, a.words), arrival, (phase, words))
        return track.back(flat, arrival, jnp.ones_like(flat), moving)[2]

    assert bool(closes(flat, jnp.zeros(3, jnp.int64)))
    for part in range(3):  # one unit in the last place of a weight, a velocity, a kept word
        assert not bool(closes(flat, jnp.zeros(3, jnp.int64).at[part].set(1)))


# ---- the derivative


def test_gradient_in_every_argument_is_that_of_unrolling():
    value, gradient = value_and_grad(Z)
    expected, oracle_gradient = oracle(Z)
    assert abs(value - expected) < 1e-10 * abs(expected)
    errors = jax.tree.map(error, gradient, oracle_gradient)
    assert max(jax.tree.leaves(errors)) < 1e-10, errors


def signs(a):
    return np.random.default_rng(7).choice([-1.0, 1.0], a.shape)


def test_gradient_agrees_with_differences_of_its_own_path():
    _, gradient = value_and_grad(Z)
    for name in Z:  # one argument at a time
        step = jax.tree.map(np.zeros_like, Z)
        step[name] = jax.tree.map(signs, Z[name])
        size = 1e-4 if name != "rate" else 1e-5

        def at(t, step=step):
            there = jax.tree.map(lambda a, b: np.asarray(a) + t * b, Z, step)
            return float(value_and_grad(there)[0])

        near, far = ((at(k * size) - at(-k * size)) / (2 * k * size) for k in (1, 2))
        slope = near + (near - far) / 3
        assert abs(inner(gradient, step) - slope) <= 1e-6 * abs(slope), name


def test_jvp_and_jacfwd_agree_with_vjp():
    _, gradient = value_and_grad(Z)
    rng = np.random.default_rng(3)
    t = jax.tree.map(lambda a: np.asarray(rng.normal(size=a.shape)), Z)
    _, slope = jax.jit(lambda z, t: jax.jvp(lambda z: outer(z, BackGradient()), (z,), (t,)))(Z, t)
    assert abs(float(slope) - inner(gradient, t)) < 1e-9 * abs(float(slope))
    forward = jax.jit(jax.jacfwd(lambda l2: outer(Z | {"l2": l2}, BackGradient())))(Z["l2"])
    assert error(forward, gradient["l2"]) < 1e-9


def test_vmap_is_a_loop():
    def gradient(l2):
        return jax.value_and_grad(lambda l2: outer(Z | {"l2": l2}, BackGradient()))(l2)

    l2 = jnp.array([-5.0, -4.0, -3.0])
    values, gradients = jax.jit(jax.vmap(gradient))(l2)
    for i in range(3):
        value, expected = value_and_grad(Z | {"l2": l2[i]})
        assert error(values[i], value) < 1e-9
        assert error(gradients[i], expected["l2"]) < 1e-9


def test_a_smooth_problem_a_closure_and_a_number_as_rate():
    def outer(x, derivative):
        def objective(w, args):
            del args
            return jnp.mean((predict(w, x) - Z["y"]) ** 2) + penalty(w, -5.0)

        solver = Momentum(steps=50, rate=0.1, decay=0.5)
        return score(
            argmin(Smooth(objective, Z["start"]), solver=solver, derivative=derivative).value
        )

    slope = eqx.filter_jit(jax.grad(outer))
    ours, expected = (slope(Z["x"], d) for d in (BackGradient(), Unroll()))
    assert error(ours, expected) < 1e-11


def test_weights_in_single_precision():
    small = jax.tree.map(lambda a: jnp.asarray(np.asarray(a, np.float32)), Z)

    def outer(z, derivative):
        solver = Momentum(steps=50, rate=jnp.float32(0.1))
        return score(argmin(problem(z), solver=solver, derivative=derivative).value)

    def score(w):
        return jnp.sum(w["b"] ** 2)

    slope = eqx.filter_jit(jax.grad(outer))
    ours, expected = (slope(small, d)["x"] for d in (BackGradient(), Unroll()))
    assert ours.dtype == jnp.float32
    assert error(ours, expected) < 1e-4


def test_what_it_reports():
    solution = argmin(
        problem(Z), solver=Momentum(steps=STEPS, rate=0.05), derivative=BackGradient()
    )
    assert int(solution.stats["steps"]) == STEPS
    assert int(solution.stats["stored_bits"]) == 2 * 64 * 36  # two words for each weight
    assert 0 < float(solution.stats["residual"]) < 1


# ---- failures


@pytest.mark.parametrize("rate", [1e6, float("nan")])
@pytest.mark.parametrize("derivative", [None, BackGradient()])
def test_a_path_out_of_range_is_a_failed_result_and_never_a_number(rate, derivative):
    def outer(rate):
        solver = Momentum(steps=STEPS, rate=rate)
        solution = argmin(problem(Z), solver=solver, derivative=derivative, throw=False)
        return score(solution.value), solution

    if derivative is None:
        value, solution = jax.jit(outer)(jnp.float64(rate))
    else:
        (value, solution), gradient = jax.jit(jax.value_and_grad(outer, has_aux=True))(
            jnp.float64(rate)
        )
        assert np.isnan(gradient)
    assert np.isnan(value)
    assert int(solution.result) == OUT_OF_RANGE
    assert solution.message == SENTENCES[OUT_OF_RANGE]
    assert "range" in solution.message
    with pytest.raises(SolveError, match="range"):
        solution.checked()


def test_a_start_out_of_range_or_nan():
    for bad in (1e4, np.nan):
        z = Z | {"start": jax.tree.map(lambda a, bad=bad: a.at[0].set(bad), Z["start"])}
        solution = argmin(problem(z), solver=Momentum(steps=STEPS, rate=0.05), throw=False)
        assert int(solution.result) == OUT_OF_RANGE


def test_a_loss_that_is_not_deterministic_gives_nan_and_not_a_number():
    state = np.random.default_rng(0)

    @jax.custom_jvp
    def noise(x):
        shape = jax.ShapeDtypeStruct((), x.dtype)
        return jax.pure_callback(lambda x: np.asarray(1e-12 * state.normal(), x.dtype), shape, x)

    @noise.defjvp
    def _(primals, tangents):
        return noise(*primals), jnp.zeros_like(tangents[0])

    def noisy(x):
        return x * (1 + noise(x))

    def outer(l2, wrap):
        def loss_(w, args, key):
            return wrap(loss(w, args, key))

        z = Z | {"l2": l2}
        inner = Stochastic(loss_, z["start"], (z["x"], z["y"], z["l2"]), KEY)
        return score(
            argmin(inner, solver=Momentum(steps=20, rate=0.05), derivative=BackGradient()).value
        )

    gradient = jax.jit(jax.value_and_grad(outer), static_argnums=1)
    assert all(np.isfinite(gradient(Z["l2"], lambda x: x)))
    value, slope = gradient(Z["l2"], noisy)
    assert np.isfinite(value)
    assert np.isnan(slope)


def test_second_derivatives_are_refused():
    with pytest.raises(NotImplementedError, match="second derivative"):
        jax.hessian(lambda l2: outer(Z | {"l2": l2}, BackGradient()))(Z["l2"])


def test_bad_arguments():
    for wrong, name in (
        ({"steps": 0, "rate": 0.1}, "steps"),
        ({"steps": 5, "rate": 0.1, "decay": 0.0}, "decay"),
        ({"steps": 5, "rate": 0.1, "decay": 1.0}, "decay"),
        ({"steps": 5, "rate": jnp.ones(4)}, "rate"),
        ({"steps": 5, "rate": float("inf")}, "rate"),
    ):
        with pytest.raises(ValueError, match=f"^{name}: got"):
            Momentum(**wrong)  # pyright: ignore[reportArgumentType]
    descent = Descent(optimizer=optax.sgd(0.1), steps=5)
    with pytest.raises(TypeError, match="Momentum"):
        argmin(problem(Z), solver=descent, derivative=BackGradient())
    with pytest.raises(TypeError, match="Descent"):
        argmin(problem(Z), solver=Momentum(steps=5, rate=0.1), derivative=ApproximateReversal(0.1))


# ---- ten thousand steps


@pytest.mark.slow
def test_ten_thousand_steps_of_a_network_of_a_hundred_thousand_weights(tmp_path):
    options = memory.Options()
    path = tmp_path / "digits.npz"
    memory.rows(options, path)

    def measured(mode, steps):
        return memory.in_a_process_of_its_own(mode, steps, options, path)

    short, long = measured("reversible", 10), measured("reversible", 10_000)
    assert np.all(np.isfinite(long["answer"]))  # NaN unless reversed to the last bit
    assert long["peak_mb"] <= 1.25 * short["peak_mb"]
    assert long["cpu_s"] <= 3.5 * measured("forward", 10_000)["cpu_s"]
    ours, full = (np.array(measured(mode, 200)["answer"]) for mode in ("reversible", "full"))
    assert np.linalg.norm(ours - full) <= 1e-10 * np.linalg.norm(full)


# ---- the approximate way back


def approximate(rate, steps, derivative):
    def outer(x):
        inner = Smooth(
            lambda w, args: jnp.mean((predict(w, args) - Z["y"]) ** 2) + penalty(w, -5.0),
            Z["start"],
            x,
        )
        solver = Descent(optimizer=optax.sgd(rate), steps=steps)
        return score(argmin(inner, solver=solver, derivative=derivative).value)

    return jax.jit(jax.grad(outer))(Z["x"])


def test_the_approximate_way_back_is_right_in_the_limit_of_small_steps_only():
    def wrong(rate):
        return error(
            approximate(rate, 20, ApproximateReversal(rate)), approximate(rate, 20, Unroll())
        )

    small, large = wrong(0.001), wrong(0.01)
    assert small < 1e-3
    assert 30 * small < large < 150 * small  # second order in the rate


def test_the_approximate_way_back_wants_the_rate_that_the_path_had():
    for optimizer in (optax.sgd(0.2), optax.sgd(0.1, momentum=0.9)):
        solver = Descent(optimizer=optimizer, steps=5)
        with pytest.raises(ValueError, match=r"^rate: got"):
            argmin(problem(Z), solver=solver, derivative=ApproximateReversal(0.1))


def test_an_empty_array_among_what_moves_has_an_empty_gradient():
    """One step by a quarter of the way."""

    def end(z):
        def near(w, z):
            return 0.5 * jnp.sum((w - z["goal"]) ** 2) + jnp.sum(z["none"])

        step = Momentum(steps=1, rate=0.25)
        return jnp.sum(
            argmin(Smooth(near, z["start"], z), solver=step, derivative=BackGradient()).value
        )

    z = {"start": jnp.array([1.0, 3.0]), "goal": jnp.array([2.0, -1.0]), "none": jnp.zeros((0, 2))}
    value, found = jax.jit(jax.value_and_grad(end))(z)
    np.testing.assert_allclose(value, 4 - 0.25 * 3)
    np.testing.assert_allclose(found["goal"], 0.25)
    np.testing.assert_allclose(found["start"], 0.75)
    assert found["none"].shape == (0, 2)
