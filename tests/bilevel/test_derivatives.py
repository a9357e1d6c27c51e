"""Derivatives along a path, against central differences of the very map they differentiate."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from bilevel import Bilevel, argmin
from bilevel.derivatives import AbstractDerivative, Forward, Implicit, Truncated, Unroll
from bilevel.problems import Smooth, Stochastic
from bilevel.results import CONVERGED, MAX_STEPS, NON_FINITE
from bilevel.solvers import Newton
from bilevel.solvers.path.descent import Descent
from bilevel.solvers.path.momentum import Momentum
from bilevel.tools import stop_gradient

STEPS = 11  # a prime: the loop nests of several levels overshoot it
RNG = np.random.default_rng(7)
Z = {
    "x": jnp.asarray(RNG.normal(size=(4, 2))),
    "y": jnp.asarray(RNG.normal(size=4)),
    "weights": jnp.asarray(RNG.uniform(0.5, 1.5, size=4)),
    "log_l2": jnp.asarray(-1.0),
    "start": {"slope": jnp.asarray(RNG.normal(size=2)), "bias": jnp.asarray(0.3)},
}
DIRECTION = jax.tree.map(lambda leaf: jnp.asarray(RNG.normal(size=leaf.shape)), Z)
SOLVERS = {
    "momentum": Descent(optax.sgd(0.1, momentum=0.9), STEPS),
    "adam": Descent(optax.adam(0.05), STEPS),
}
EXACT = {
    "unroll1": Unroll(),
    "unroll2": Unroll(2),
    "unroll3": Unroll(3),
    "forward": Forward(),
}


def loss(w, z, rows: Any = 1.0):
    """Weighted rows through a bounded loss, so that all derivatives in all arguments matter."""
    fit = jnp.log(jnp.cosh(z["x"] @ w["slope"] + w["bias"] - z["y"]))
    ridge = jnp.sum(w["slope"] ** 2) + w["bias"] ** 2
    return jnp.sum(rows * (z["weights"] * fit)) + 0.5 * jnp.exp(z["log_l2"]) * ridge


def smooth(z):
    return Smooth(loss, z["start"], z)


def smooth_closed(z):
    """The same problem, all of it in a closure."""
    return Smooth(lambda w, _: loss(w, z), z["start"])


def batch_loss(w, z, key):
    return loss(w, z, jax.random.exponential(key, (4,)))


def stochastic(z):
    return Stochastic(batch_loss, z["start"], z, jax.random.key(3))


def stochastic_closed(z):
    return Stochastic(lambda w, _, key: batch_loss(w, z, key), z["start"], None, jax.random.key(3))


PROBLEMS = {
    "smooth": smooth,
    "smooth_closed": smooth_closed,
    "stochastic": stochastic,
    "stochastic_closed": stochastic_closed,
}


def outer(z, w):
    return jnp.sin(w["slope"][0]) + w["slope"][1] * w["bias"] + jnp.sum(z["y"] * w["bias"] ** 2)


def score(z, problem: Callable, solver, derivative: AbstractDerivative) -> Array:
    return outer(z, argmin(problem(z), solver=solver, derivative=derivative).value)


@eqx.filter_jit
def gradient(z, problem, solver, derivative):
    return jax.value_and_grad(score)(z, problem, solver, derivative)


@eqx.filter_jit
def differences(function: Callable, z, step=1e-3):
    """Central differences of sixth order in every entry of z."""
    flat, unravel = ravel_pytree(z)

    ways = jnp.asarray([1.0, 2.0, 3.0, -1.0, -2.0, -3.0])
    weights = jnp.asarray([3 / 4, -3 / 20, 1 / 60, -3 / 4, 3 / 20, -1 / 60])

    def along(e):
        return weights @ jax.lax.map(lambda k: function(unravel(flat + k * step * e)), ways) / step

    return unravel(jax.lax.map(along, jnp.eye(flat.size)))


def walk(solver, problem, state, first, end):
    """The state after the steps from `first` to `end`, both counted from the last."""
    indices = jnp.arange(STEPS + first, STEPS + end, dtype=jnp.int32)
    return jax.lax.scan(lambda s, t: (solver.step(problem, s, t), None), state, indices)[0]


def truncated_map(z, fixed, problem, solver, last):
    """The end of the path if its first steps were taken at `fixed`."""
    state = walk(
        solver, problem(fixed), solver.begin(problem(fixed), fixed["start"]), -STEPS, -last
    )
    return outer(z, walk(solver, problem(z), state, -last, 0)[0])


def whole_map(z, problem, solver):
    return outer(z, walk(solver, problem(z), solver.begin(problem(z), z["start"]), -STEPS, 0)[0])


def agree(a, b, tolerance=1e-9):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=tolerance), a, b)


CASES = [("smooth", "adam", None), ("stochastic_closed", "momentum", "unroll2")]
FEWER = [("smooth_closed", "momentum", "unroll3"), ("stochastic", "adam", "forward")]


@pytest.mark.parametrize(
    ("problem", "solver", "only"),
    CASES + [pytest.param(*case, marks=pytest.mark.slow) for case in FEWER],
)
def test_every_derivative_is_that_of_the_map(problem, solver, only):
    problem, solver = PROBLEMS[problem], SOLVERS[solver]
    wanted = differences(lambda z: whole_map(z, problem, solver), Z)
    assert all(float(jnp.max(jnp.abs(leaf))) > 1e-3 for leaf in jax.tree.leaves(wanted))
    value = eqx.filter_jit(whole_map)(Z, problem, solver)
    for derivative in EXACT.values() if only is None else [EXACT[only]]:
        found, got = gradient(Z, problem, solver, derivative)
        agree(found, value, 1e-13)
        agree(got, wanted)


@pytest.mark.parametrize(
    ("problem", "solver", "last"),
    [
        ("smooth", "adam", STEPS - 1),
        ("stochastic_closed", "momentum", 1),
        pytest.param("smooth", "adam", 1, marks=pytest.mark.slow),
        pytest.param("stochastic_closed", "momentum", STEPS - 1, marks=pytest.mark.slow),
    ],
)
def test_truncated_is_the_derivative_with_the_first_steps_held(problem, solver, last):
    problem, solver = PROBLEMS[problem], SOLVERS[solver]
    value, got = gradient(Z, problem, solver, Truncated(last))
    agree(value, eqx.filter_jit(whole_map)(Z, problem, solver), 1e-13)
    agree(got, differences(lambda z: truncated_map(z, Z, problem, solver, last), Z))
    assert float(jnp.abs(got["start"]["bias"])) == 0


@pytest.mark.parametrize("derivative", ["unroll2", "forward"])
def test_forward_and_reverse_mode_agree(derivative):
    derivative, solver = EXACT[derivative], SOLVERS["adam"]

    @jax.jit
    def both(z, direction):
        def run(z):
            return score(z, smooth, solver, derivative)

        _, pushed = jax.jvp(run, (z,), (direction,))
        return pushed, jax.grad(run)(z)

    pushed, pulled = both(Z, DIRECTION)
    products = jax.tree.map(lambda g, d: jnp.sum(g * d), pulled, DIRECTION)
    agree(pushed, sum(jax.tree.leaves(products)), 1e-13)


def test_hessians_are_symmetric_and_the_same():
    solver = SOLVERS["momentum"]
    small, unravel = ravel_pytree({"y": Z["y"], "log_l2": Z["log_l2"]})

    def whole(flat):
        return {**Z, **unravel(flat)}

    first = jax.grad(lambda flat: whole_map(whole(flat), smooth, solver))
    wanted = differences(lambda flat: first(flat) @ jnp.arange(5.0), small)
    for derivative in (Unroll(2), Forward()):
        run = jax.jit(jax.hessian(lambda flat, d=derivative: score(whole(flat), smooth, solver, d)))
        hessian = run(small)
        agree(hessian, hessian.T, 1e-12)
        agree(hessian @ jnp.arange(5.0), wanted)


@pytest.mark.parametrize("derivative", ["unroll3", "forward"])
def test_vmap_is_a_loop(derivative):
    derivative = EXACT[derivative]
    stack = jax.tree.map(lambda z, d: jnp.stack([z, z + 0.1 * d, z - 0.3 * d]), Z, DIRECTION)
    run = jax.value_and_grad(lambda z: score(z, stochastic, SOLVERS["momentum"], derivative))
    batched, looped = jax.jit(jax.vmap(run))(stack), jax.jit(lambda s: jax.lax.map(run, s))(stack)
    agree(batched, looped, 1e-13)


def test_without_jit_and_with_jacfwd_and_jacrev():
    def weights(log_l2):
        problem = smooth({**Z, "log_l2": log_l2})
        return argmin(problem, solver=SOLVERS["momentum"], derivative=Unroll(2)).value

    agree(jax.jacfwd(weights)(Z["log_l2"]), jax.jacrev(weights)(Z["log_l2"]), 1e-14)


@pytest.mark.parametrize("derivative", [Unroll(2), Forward(), Truncated(2)])
def test_the_rate_of_a_solver_is_differentiable(derivative):
    """A rate is no part of the problem, but a part of the map."""
    rates = jnp.asarray(np.linspace(0.05, 0.1, STEPS))

    def run(rates, solver_of):
        return score(Z, smooth, solver_of(rates), derivative)

    def momentum(rates):
        return Momentum(STEPS, rates, 0.5)

    def end(rates):
        solver, fixed = momentum(rates), momentum(stop_gradient(rates))
        last = getattr(derivative, "last", STEPS)
        state = walk(fixed, smooth(Z), fixed.begin(smooth(Z), Z["start"]), -STEPS, -last)
        return outer(Z, walk(solver, smooth(Z), state, -last, 0)[0])

    got = jax.jit(lambda r: jax.grad(run)(r, momentum))(rates)
    agree(got, jax.jit(jax.grad(end))(rates), 1e-12)
    assert float(jnp.abs(got[-1])) > 1e-3


@pytest.mark.parametrize("derivative", [Unroll(2), Truncated(STEPS), Forward()])
def test_the_rate_of_an_optax_optimizer(derivative):
    """Closed over by its functions."""

    def descent(rate):
        return Descent(optax.sgd(rate, momentum=0.5), STEPS)

    def run(rate):
        return score(Z, smooth, descent(rate), derivative)

    rate = jnp.asarray(0.07)
    wanted = differences(lambda r: whole_map(Z, smooth, descent(r)), rate)
    agree(jax.jit(jax.grad(run))(rate), wanted)


def quadratic(diagonal, t):
    return Smooth(
        lambda w, t: 0.5 * jnp.sum(diagonal * w * w) - jnp.sum(jnp.sin(t) * w),
        jnp.zeros_like(diagonal),
        t,
    )


def test_truncation_is_a_neumann_series():
    """Of gradient descent on a quadratic at its minimiser, exactly: the error is (1 - rate d)^k."""
    diagonal, t = jnp.asarray([0.5, 1.0, 3.0]), jnp.asarray(0.4)
    solver = Descent(optax.sgd(0.2), 400)

    def slope(derivative):
        run = jax.jit(
            jax.jacfwd(
                lambda t: argmin(quadratic(diagonal, t), solver=solver, derivative=derivative).value
            )
        )
        return run(t)

    exact = jnp.cos(t) / diagonal
    agree(slope(Implicit()), exact, 1e-12)
    for last in (1, 2, 5, 20):
        rate = (1 - 0.2 * diagonal) ** last
        agree(slope(Truncated(last)), exact * (1 - rate), 1e-13)


def test_long_paths_with_few_states():
    """The derivative of a long path at every level, and memory that shrinks with levels."""
    t = jnp.asarray(0.4)
    solver = Descent(optax.sgd(0.01), 1000)

    def run(t, levels):
        problem = Smooth(lambda w, t: jnp.sum(jnp.cosh(w - jnp.sin(t))), jnp.zeros(2000), t)
        return jnp.sum(argmin(problem, solver=solver, derivative=Unroll(levels)).value)

    memory, slopes = {}, {}
    for levels in (1, 2, 3):
        compiled = jax.jit(jax.grad(lambda t, levels=levels: run(t, levels))).lower(t).compile()
        analysis: Any = compiled.memory_analysis()
        memory[levels] = analysis.temp_size_in_bytes
        slopes[levels] = compiled(t)
    agree(slopes[2], slopes[1], 1e-12 * float(jnp.abs(slopes[1])))
    agree(slopes[3], slopes[1], 1e-12 * float(jnp.abs(slopes[1])))
    state = 2000 * 8
    assert memory[1] > 900 * state
    assert memory[2] < 150 * state
    assert memory[3] < 80 * state


@pytest.mark.parametrize("steps", [1, 2, 5, 9, 30])
def test_every_number_of_steps_is_walked_exactly(steps):
    """A state that counts, and remembers the order it was walked in."""
    problem = Smooth(lambda w, t: t * w, jnp.asarray(1.0), jnp.asarray(1.0))

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        del params
        count, memory = state
        memory = 0.7 * memory + count * updates
        return memory, (count + 1, memory)

    counting = optax.GradientTransformation(lambda params: (jnp.int32(0), params), update)
    solver = Descent(counting, steps)

    def end(t, derivative):
        return argmin(eqx.tree_at(lambda p: p.args, problem, t), solver=solver,
                      derivative=derivative).value  # fmt: skip

    derivatives = Unroll(), Unroll(2), Unroll(4)
    one, two, four = jax.jit(lambda t: [jax.value_and_grad(end)(t, d) for d in derivatives])(1.0)
    agree((two, four), (one, one), 1e-11)


def test_float32_paths():
    z = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), Z)
    wanted = gradient(Z, smooth, SOLVERS["adam"], Unroll())
    for derivative in (Unroll(2), Forward()):
        value, got = gradient(z, smooth, SOLVERS["adam"], derivative)
        assert {leaf.dtype for leaf in jax.tree.leaves((value, got))} == {jnp.dtype("float32")}
        agree((value, got), wanted, 2e-5)


def test_results_of_paths():
    problem = smooth(Z)
    path = Descent(optax.sgd(0.1), 300)
    assert int(argmin(problem, solver=path, derivative=Unroll()).result) == CONVERGED
    short = Descent(optax.sgd(0.1), 3, tol=1e-3)
    failed = argmin(problem, solver=short, derivative=Unroll(), throw=False)
    assert int(failed.result) == MAX_STEPS
    long = Descent(optax.sgd(0.3), 300, tol=1e-3)
    assert int(argmin(problem, solver=long, derivative=Forward()).result) == CONVERGED
    wild = Descent(optax.sgd(1e200), 5)
    for derivative in (Unroll(2), Forward(), Truncated(2)):
        burst = argmin(smooth(Z), solver=wild, derivative=derivative, throw=False)
        assert int(burst.result) in (CONVERGED, NON_FINITE)
        assert (int(burst.result) == CONVERGED) == bool(jnp.all(jnp.isfinite(burst.value["slope"])))


@pytest.mark.parametrize("solver", [*SOLVERS.values(), Momentum(STEPS, 0.1)])
def test_a_path_takes_no_warm_start(solver):
    """Its answer depends on where it starts: with a warm start it was another function."""
    assert not solver.converges
    with pytest.raises(ValueError, match=r"^warm: got one for .*depends on where it starts"):
        argmin(smooth(Z), Z["start"], solver=solver, derivative=Unroll())
    assert argmin(smooth(Z), solver=solver, derivative=Unroll()).warm is None
    objective = Bilevel(smooth, outer, solver, Unroll())
    value = jax.jit(lambda warm: objective.evaluate(Z, warm)[0])
    agree(value(jax.tree.map(lambda leaf: leaf + 1, Z["start"])), value(None), 0)


@pytest.mark.parametrize("derivative", [Unroll(), Forward(), Truncated()])
def test_a_solver_that_is_no_path_is_refused(derivative):
    with pytest.raises(TypeError, match=r"got Newton.*loop of equal steps.*Implicit\(\)"):
        argmin(smooth(Z), solver=Newton(), derivative=derivative)


def test_a_stochastic_problem_has_no_implicit_derivative():
    def run(z):
        return score(z, stochastic, SOLVERS["momentum"], Implicit())

    with pytest.raises(ValueError, match=r"Stochastic.*no optimality conditions.*Unroll"):
        jax.grad(run)(Z)


def test_forward_refuses_to_carry_too_much():
    with pytest.raises(ValueError, match=r"would carry 23 tangents.*at most 22.*Unroll\(\)"):
        jax.grad(lambda z: score(z, smooth, SOLVERS["adam"], Forward(22)))(Z)
    jax.eval_shape(jax.grad(lambda z: score(z, smooth, SOLVERS["adam"], Forward(23))), Z)


@pytest.mark.parametrize("levels", [0, -1])
def test_levels_below_one_are_refused(levels):
    with pytest.raises(ValueError, match=rf"levels: got {levels}, expected 1"):
        Unroll(levels)


@pytest.mark.parametrize("last", [0, STEPS + 1])
def test_truncating_to_more_than_the_path_is_refused(last):
    with pytest.raises(ValueError, match=rf"last: got {last}, expected 1 to {STEPS}"):
        argmin(smooth(Z), solver=SOLVERS["momentum"], derivative=Truncated(last))


def test_a_path_of_no_steps_is_refused():
    with pytest.raises(ValueError, match="steps: got 0"):
        Descent(optax.sgd(0.1), 0)
