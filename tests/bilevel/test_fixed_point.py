"""Fixed points whose map has no symmetric Jacobian: the derivative must be solved both ways."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from bilevel import Bilevel, SolveError, argmin, certify
from bilevel.derivatives import Implicit, Unroll
from bilevel.linear import Dense, Neumann
from bilevel.linear.gmres import GMRES
from bilevel.problems.fixed_point import FixedPoint
from bilevel.results import CONVERGED, MAX_STEPS, NON_FINITE
from bilevel.solvers.path.picard import Picard
from bilevel.solvers.smooth.anderson import Anderson

RNG = np.random.default_rng(3)
N = 6
MIX = RNG.normal(size=(N + 2, N + 2))
MIX *= 1.2 / np.linalg.norm(MIX, 2)
START = {"u": jnp.zeros(N), "v": jnp.zeros(2)}
Z = {"shift": jnp.asarray(RNG.normal(size=N + 2)), "gain": jnp.asarray(0.7)}


def layer(w, z, shift):
    """An equilibrium layer: not symmetric, spectral radius below one."""
    flat, unravel = ravel_pytree(w)
    return unravel(z["gain"] * jnp.tanh(jnp.asarray(MIX) @ flat + shift) + 0.1 * shift)


def given(z):
    return FixedPoint(lambda w, z: layer(w, z, z["shift"]), START, z)


def closed(z):
    return FixedPoint(lambda w, gain: layer(w, {"gain": gain}, z["shift"]), START, z["gain"])


def outer(z, w):
    return jnp.sum(jnp.sin(w["u"])) + w["u"][0] * w["v"][1] + z["gain"] * w["v"][0]


def score(z, problem=given, derivative=None):
    return outer(z, argmin(problem(z), solver=Anderson(), derivative=derivative).value)


def iterated(z):
    """The same by plain iteration to the last digit."""
    problem = given(z)
    return outer(z, jax.lax.fori_loop(0, 400, lambda _, w: problem.map(w, z), START))


@eqx.filter_jit
def differences(function, flat, step=1e-3):
    """Central differences of sixth order in every entry."""

    ways = jnp.asarray([1.0, 2.0, 3.0, -1.0, -2.0, -3.0])
    weights = jnp.asarray([3 / 4, -3 / 20, 1 / 60, -3 / 4, 3 / 20, -1 / 60])

    def along(e):
        return weights @ jax.lax.map(lambda k: function(flat + k * step * e), ways) / step

    return jax.lax.map(along, jnp.eye(flat.size))


FLAT, UNRAVEL = ravel_pytree(Z)


@pytest.mark.parametrize("problem", [given, closed])
@pytest.mark.parametrize("derivative", [Implicit(), Implicit(GMRES(precondition=False)),
                                        Implicit(Dense())])  # fmt: skip
def test_gradients_agree_with_differences_in_arguments_and_closures(problem, derivative):
    def run(flat):
        return score(UNRAVEL(flat), problem, derivative)

    value, gradient = jax.jit(jax.value_and_grad(run))(FLAT)
    if problem is given:
        _, pushed = jax.jit(lambda f: jax.jvp(run, (f,), (jnp.cos(f),)))(FLAT)
        np.testing.assert_allclose(pushed, gradient @ jnp.cos(FLAT), rtol=1e-11)
    np.testing.assert_allclose(value, iterated(Z), rtol=1e-13)
    wanted = differences(lambda flat: iterated(UNRAVEL(flat)), FLAT)
    np.testing.assert_allclose(gradient, wanted, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_forward_and_reverse_mode_and_second_derivatives():
    def run(flat):
        return score(UNRAVEL(flat))

    gradient, hessian = jax.jit(lambda f: (jax.jacfwd(run)(f), jax.hessian(run)(f)))(FLAT)
    np.testing.assert_allclose(gradient, jax.jit(jax.grad(run))(FLAT), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-11)
    slope = jax.grad(lambda flat: score(UNRAVEL(flat)))
    wanted = differences(lambda flat: slope(flat) @ jnp.ones(N + 3), FLAT)
    np.testing.assert_allclose(hessian.sum(0), wanted, rtol=0, atol=1e-8)


@pytest.mark.slow
def test_batches_are_loops():
    gains = jnp.asarray([0.1, 0.5, 0.75])

    def run(gain):
        return jax.value_and_grad(lambda g: score({**Z, "gain": g}))(gain)

    batched, looped = jax.jit(jax.vmap(run))(gains), jax.jit(lambda g: jax.lax.map(run, g))(gains)
    np.testing.assert_allclose(batched, looped, rtol=1e-11)


def test_acceleration_pays_and_a_warm_start_too():
    solution = argmin(given(Z), solver=Anderson())
    plain = argmin(given(Z), solver=Anderson(memory=1, damping=0.5))
    again = argmin(given(Z), solution.warm, solver=Anderson())
    assert int(solution.stats["steps"]) < int(plain.stats["steps"])
    assert int(again.stats["steps"]) <= 3
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), solution.value, plain.value
    )


@pytest.mark.parametrize("rate", [0.5, 0.99, -0.99])
def test_slow_contractions(rate):
    """The residual at rounding says how far the fixed point is: rounding / (1 - rate)."""
    problem = FixedPoint(lambda w, t: rate * jnp.cos(w) * w + t, jnp.ones(3), jnp.arange(3.0) / 9)
    solution = argmin(problem, solver=Anderson())
    left = problem.map(solution.value, problem.args) - solution.value
    assert float(jnp.max(jnp.abs(left))) < 1e-12
    assert int(solution.stats["steps"]) < 200


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e6])
def test_rounding_that_one_probe_does_not_see_is_measured(unit):
    """The map's rounding is of a sum, which stays where its two parts move in opposite ways."""
    size = 1e-10

    def rounded(w, t):
        return (w + t) / 2 + t * size * jnp.sin(1e17 * ((w[0] + w[1]) / t))

    problem = FixedPoint(rounded, jnp.zeros(4), jnp.asarray(unit))
    solution = argmin(problem, solver=Anderson())
    np.testing.assert_allclose(solution.value, unit, atol=3 * size * unit)
    assert 0.01 * size < float(solution.stats["residual"]) / unit < 2 * size
    assert int(solution.stats["steps"]) < 100


def test_a_fixed_point_at_zero():
    problem = FixedPoint(lambda w, t: t * jnp.tanh(w), jnp.ones(3), jnp.asarray(0.5))
    solution = argmin(problem, solver=Anderson())
    np.testing.assert_allclose(solution.value, 0, atol=1e-14)


@pytest.mark.parametrize(
    ("move", "codes"),
    [
        (lambda w, t: w + 1.0 + t, {MAX_STEPS}),  # no fixed point
        (lambda w, t: w**2 + 1.0 + t, {MAX_STEPS, NON_FINITE}),  # none either, and it explodes
        (lambda w, t: jnp.where(w > 0, -1.0 - w, 2.0 - w) + t, {MAX_STEPS}),  # a jump
        (lambda w, t: jnp.log(w - 2.0) + t, {NON_FINITE}),
    ],
)
def test_what_does_not_contract_is_reported(move, codes):
    problem = FixedPoint(move, jnp.asarray([0.3, 1.4]), jnp.asarray(0.0))
    failed = argmin(problem, solver=Anderson(max_steps=100), throw=False)
    assert int(failed.result) in codes
    left = jnp.linalg.norm(move(failed.value, 0.0) - failed.value)  # of the point, not of the last
    np.testing.assert_allclose(failed.stats["residual"], left, rtol=1e-6)
    with pytest.raises(SolveError):
        argmin(problem, solver=Anderson(max_steps=100))


def test_too_few_steps_are_reported():
    failed = argmin(given(Z), solver=Anderson(max_steps=3), throw=False)
    assert int(failed.result) == MAX_STEPS
    assert int(failed.stats["steps"]) == 3
    assert int(argmin(given(Z), solver=Anderson()).result) == CONVERGED


def test_a_map_that_is_rough_where_the_search_begins_is_not_solved_there():
    def rough(w, _):  # moves by its own size if w does by one unit; near 1 it halves distances
        return jnp.where(jnp.abs(w) > 10, 3e5 * (2 + jnp.sin(1e12 * w)), 1 + 0.5 * (w - 1))

    problem = FixedPoint(rough, jnp.array([1e6, 1.1e6]))
    stopped = argmin(problem, solver=Anderson(max_steps=4), throw=False)
    assert int(stopped.result) == MAX_STEPS
    near = FixedPoint(rough, jnp.array([7.0, -5.0]))
    np.testing.assert_allclose(argmin(near, solver=Anderson()).value, 1.0, rtol=1e-13)


def test_the_certificate_solves_the_transposed_system():
    objective = Bilevel(given, outer, Anderson())
    found = certify(objective, Z)
    wanted = jax.jit(jax.grad(score))(Z)
    error = np.sqrt(sum(np.sum((found.gradient[k] - wanted[k]) ** 2) for k in Z))
    assert error < 1e-10
    assert error <= float(found.error_bound) < 1e-8


def by_picard(z, derivative, steps=400):
    return outer(z, argmin(given(z), solver=Picard(steps), derivative=derivative).value)


def test_plain_iteration_has_the_derivatives_of_its_path_and_of_its_limit():
    flat, unravel = ravel_pytree(Z)
    exact = differences(lambda flat: iterated(unravel(flat)), flat)

    def error(derivative, steps=400):
        slope = jax.jit(jax.grad(lambda flat: by_picard(unravel(flat), derivative, steps)))(flat)
        return np.linalg.norm(slope - exact) / np.linalg.norm(exact)

    assert error(Implicit()) < 1e-9
    assert error(Unroll()) < 1e-9
    five, sixty = (error(Implicit(Neumann(k, rate=1.0))) for k in (5, 60))
    assert 1e-4 < five < 0.5
    assert sixty < 1e-2 * five
    assert error(Unroll(), 3) > 1e-3
    stopped = argmin(given(Z), solver=Picard(3, tol=1e-9), throw=False)
    assert stopped.result == MAX_STEPS
    assert int(argmin(given(Z), solver=Picard(400, tol=1e-9)).result) == CONVERGED
