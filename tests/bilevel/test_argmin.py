"""The implicit derivative: proven by differences, the same under every transformation."""

from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.flatten_util import ravel_pytree

from bilevel import SolveError, argmin
from bilevel.derivatives import Implicit
from bilevel.linear import CG, AbstractLinearSolver, Dense, Factor
from bilevel.problems import BoxQP, Smooth
from bilevel.solvers import ActiveSet, Newton

N = 5
RNG = np.random.default_rng(0)
A, G, c = (jnp.asarray(RNG.normal(size=shape)) for shape in ((N, N), (N, N), (N,)))


# A QP whose every array depends on z, on a face with free, lower and upper variables.
def qp_of(z):
    return BoxQP(
        Q=A @ A.T + jnp.diag(1 + 0.1 * z),
        q=3 * jnp.sin(c + z) + G @ z,
        lower=-0.3 + 0.05 * z,
        upper=0.2 + 0.1 * jnp.cos(z),
        e=jnp.ones(N) + 0.1 * z[::-1],
        b=0.3 + 0.1 * jnp.sum(z * z),
    )


def qp_score(z, linear: AbstractLinearSolver = Factor()):
    x, nu = argmin(qp_of(z), solver=ActiveSet(), derivative=Implicit(linear)).value
    return jnp.sum(jnp.sin(x + c)) + 0.3 * nu * x[0] + 0.1 * nu**2


class Loss(eqx.Module):
    """A strictly convex loss over a pytree of unknowns."""

    data: jax.Array

    def __call__(self, w, args):
        scores = self.data @ w["weights"] + w["bias"]
        penalty = 0.5 * jnp.exp(args["log_l2"]) * (jnp.sum(w["weights"] ** 2) + w["bias"] ** 2)
        return jnp.sum(args["weight"] * jnp.logaddexp(0, -args["label"] * scores)) + penalty


LOSS = Loss(jnp.asarray(RNG.normal(size=(12, N))))
LABEL = jnp.asarray(np.sign(RNG.normal(size=12)))
START = {"weights": jnp.zeros(N), "bias": jnp.zeros(())}


def smooth_of(z):
    args = {"log_l2": 0.3 * z[0], "weight": jnp.exp(jnp.sin(jnp.arange(12.0) * z[1])) + z[2] ** 2,
            "label": LABEL + 0.1 * z[3]}  # fmt: skip
    return Smooth(eqx.tree_at(lambda m: m.data, LOSS, LOSS.data * (1 + 0.2 * z[4])), START, args)


def smooth_score(z, linear: AbstractLinearSolver = Factor()):
    w = argmin(smooth_of(z), solver=Newton(), derivative=Implicit(linear)).value
    return jnp.sum(jnp.sin(w["weights"])) + w["bias"] ** 2


def closed_over_score(z):
    """The objective is a closure over the differentiated variable, inside another closure."""

    def objective(w, args):
        def inner(w):
            return jnp.sum((1 + z**2) * jnp.cosh(w - jnp.sin(z))) + 0.5 * jnp.sum((A.T @ w) ** 2)

        return inner(w) + jnp.sum(args * w)

    w = argmin(Smooth(objective, jnp.zeros(N), z[::-1]), solver=Newton()).value
    return jnp.sum(w**3) + jnp.sum(z * w)


SCORES = {"qp": qp_score, "smooth": smooth_score, "closure": closed_over_score}
Z = 0.3 * jnp.asarray(np.random.default_rng(1).normal(size=N))
T = jnp.asarray(np.random.default_rng(2).normal(size=N))


class Compiled:
    """One compilation per score and transformation, shared by the tests."""

    def __init__(self, score):
        self.value_and_grad = jax.jit(jax.value_and_grad(score))
        self.jvp = jax.jit(lambda z, t: jax.jvp(score, (z,), (t,))[1])
        self.jacfwd = jax.jit(jax.jacfwd(score))
        self.hessian = jax.jit(jax.hessian(score))
        self.hvp = jax.jit(lambda z, t: jax.jvp(jax.grad(score), (z,), (t,))[1])
        self.reverse_reverse = jax.jit(jax.grad(lambda z, t: jax.grad(score)(z) @ t))

    def value(self, z):
        return self.value_and_grad(z)[0]

    def grad(self, z):
        return self.value_and_grad(z)[1]


COMPILED = {name: Compiled(score) for name, score in SCORES.items()}
scores = pytest.mark.parametrize("name", SCORES)


def central(f, z, t):
    """Best of several steps; the disagreement of neighbouring ones says how good."""
    steps = [10.0**-k for k in range(2, 7)]
    tries = [(np.asarray(f(z + h * t)) - np.asarray(f(z - h * t))) / (2 * h) for h in steps]
    # Richardson: steps shrink tenfold, so that errors of second order cancel
    tries = [(100 * b - a) / 99 for a, b in pairwise(tries)]
    gaps = [np.max(np.abs(a - b)) for a, b in pairwise(tries)]
    return tries[int(np.argmin(gaps)) + 1]


def test_the_qp_is_at_a_regular_point_of_a_mixed_face():
    sets = argmin(qp_of(Z), solver=ActiveSet()).warm
    counts = [int(jnp.sum(s)) for s in (sets.lower, sets.upper, sets.free)]
    assert min(counts) >= 1


@scores
def test_gradient_is_that_of_central_differences(name):
    f = COMPILED[name]
    gradient = f.grad(Z)
    expected = np.stack([central(f.value, Z, e) for e in jnp.eye(N)])
    assert np.max(np.abs(expected)) > 1e-2
    np.testing.assert_allclose(gradient, expected, rtol=1e-8, atol=1e-9)


@scores
def test_forward_and_reverse_agree(name):
    f = COMPILED[name]
    np.testing.assert_allclose(f.jvp(Z, T), f.grad(Z) @ T, rtol=1e-12)
    if name != "smooth":
        np.testing.assert_allclose(f.jacfwd(Z), f.grad(Z), rtol=1e-11, atol=1e-13)


@scores
def test_hessian_is_symmetric_and_that_of_central_differences(name):
    f = COMPILED[name]
    hessian = np.asarray(f.hessian(Z))
    assert np.max(np.abs(hessian)) > 1e-2
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-10, atol=1e-11)
    expected = np.stack([central(f.grad, Z, e) for e in jnp.eye(N)])
    np.testing.assert_allclose(hessian, expected, rtol=1e-7, atol=1e-8)
    if name == "closure":  # the cheapest to compile
        np.testing.assert_allclose(f.hvp(Z, T), hessian @ T, rtol=1e-10, atol=1e-11)
        np.testing.assert_allclose(f.reverse_reverse(Z, T), hessian @ T, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", ["qp", "closure"])
def test_vmap_is_a_loop(name):
    f, zs = COMPILED[name], Z[None] + 0.05 * jnp.asarray(RNG.normal(size=(3, N)))
    together = jax.jit(jax.vmap(jax.grad(SCORES[name])))(zs)
    for z, gradient in zip(zs, together, strict=True):
        np.testing.assert_allclose(gradient, f.grad(z), rtol=1e-11, atol=1e-13)


def test_jit_changes_nothing():
    np.testing.assert_allclose(
        jax.grad(closed_over_score)(Z), COMPILED["closure"].grad(Z), rtol=1e-12
    )


@pytest.mark.parametrize("leaf", ["Q", "q", "lower", "upper", "e", "b"])
def test_each_array_of_a_qp_has_its_derivative(leaf):
    problem = qp_of(Z)
    start = getattr(problem, leaf)
    direction = jnp.asarray(np.random.default_rng(3).normal(size=start.shape))
    if leaf == "Q":
        direction = direction + direction.T

    def move(t):
        there = jax.device_put(np.asarray(start) + t * np.asarray(direction))
        moved = eqx.tree_at(lambda p: getattr(p, leaf), problem, there)
        return qp_score_and_pullback(moved)[0]

    expected = central(move, 0.0, 1.0)
    pulled = getattr(qp_score_and_pullback(problem)[1], leaf)
    assert abs(expected) > 1e-4
    np.testing.assert_allclose(jnp.sum(pulled * direction), expected, rtol=1e-8)


@eqx.filter_jit
def qp_score_and_pullback(problem):
    def score(problem):
        x, nu = argmin(problem, solver=ActiveSet()).value
        return jnp.sum(jnp.sin(x + c)) + 0.3 * nu * x[0]

    return jax.value_and_grad(score)(problem)


@pytest.mark.parametrize("linear", [Dense(), CG(), CG(precondition=False)])
def test_linear_solvers_agree_on_a_smooth_problem(linear):
    gradient = jax.jit(jax.grad(lambda z: smooth_score(z, linear)))(Z)
    np.testing.assert_allclose(gradient, COMPILED["smooth"].grad(Z), rtol=1e-9, atol=1e-11)


def test_dense_agrees_on_a_qp():
    gradient = jax.jit(jax.grad(lambda z: qp_score(z, Dense())))(Z)
    np.testing.assert_allclose(gradient, COMPILED["qp"].grad(Z), rtol=1e-11, atol=1e-13)


def test_a_linear_solve_that_fails_gives_nan_and_not_a_wrong_number():
    # CG is not for the indefinite system of a QP, nor done after one step
    for gradient in (
        jax.jit(jax.grad(lambda z: qp_score(z, CG(precondition=False, max_steps=2))))(Z),
        jax.jit(jax.grad(lambda z: smooth_score(z, CG(precondition=False, max_steps=1))))(Z),
        jax.jit(jax.grad(lambda z: singular_score(z, Factor())))(Z),
    ):
        assert np.all(np.isnan(gradient))


def singular_score(z, linear: AbstractLinearSolver):
    """A flat direction that z pushes along: no derivative exists."""
    slope = z[0] - lax.stop_gradient(z[0])
    flat = Smooth(lambda w, a: a[1] * w[0] + 0.5 * jnp.sum((w[1:] - a[0][1:]) ** 2), z, (z, slope))
    return jnp.sum(argmin(flat, solver=Newton(), derivative=Implicit(linear), throw=False).value)


def test_failure_raises_at_the_public_edge_eagerly_and_under_jit():
    slow = Newton(max_steps=1)
    with pytest.raises(SolveError, match="max_steps"):
        argmin(smooth_of(Z), solver=slow)
    with pytest.raises(Exception, match="max_steps"):
        jax.block_until_ready(jax.jit(lambda z: argmin(smooth_of(z), solver=slow).value)(Z))
    assert int(argmin(smooth_of(Z), solver=slow, throw=False).result) != 0


def test_implicit_is_unrolled():
    def unrolled(z):
        problem = smooth_of(z)
        gradient = jax.grad(problem.objective)
        flat, unravel = ravel_pytree(problem.start)

        def step(w, _):
            g = ravel_pytree(gradient(unravel(w), problem.args))[0]
            return w - 0.03 * g, None

        w = unravel(jax.lax.scan(step, flat, length=4000)[0])
        return jnp.sum(jnp.sin(w["weights"])) + w["bias"] ** 2

    np.testing.assert_allclose(
        jax.jit(jax.grad(unrolled))(Z), COMPILED["smooth"].grad(Z), rtol=1e-9, atol=1e-11
    )
