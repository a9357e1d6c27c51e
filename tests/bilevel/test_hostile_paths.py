"""Paths of optimisers that need the value, and of those that divide by gradients of zero."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bilevel import argmin
from bilevel.derivatives import Forward, Truncated, Unroll
from bilevel.problems import Smooth, Stochastic
from bilevel.solvers import Descent, Momentum

STEPS = 6
OPTIMIZERS = {
    "adam": optax.adam(0.1),
    "amsgrad": optax.amsgrad(0.1),
    "lamb": optax.lamb(0.1),
    "rmsprop": optax.rmsprop(0.1),
    "polyak": optax.polyak_sgd(),
    "plateau": optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=2)),
}


def end(z, optimizer, derivative):
    """A loss of which the last weight never moves."""

    def loss(w, z):
        return jnp.sum((w[:2] - z[:2]) ** 2) + z[2] * w[2] * 0 + z[2] * w[0] ** 2

    problem = Smooth(loss, jnp.array([1.0, -1.0, 0.5]), z)
    return jnp.sum(argmin(problem, solver=Descent(optimizer, STEPS), derivative=derivative).value)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_dead_feature_has_a_derivative(name, standard_promotion):
    z, along, h = jnp.array([0.3, 0.2, 0.7]), jnp.array([0.5, -0.3, 0.8]), 1e-5
    optimizer = OPTIMIZERS[name]
    value = jax.jit(lambda z: end(z, optimizer, Unroll()))
    difference = (value(z + h * along) - value(z - h * along)) / (2 * h)
    for derivative in (Unroll(), Forward(), Truncated(STEPS)):
        gradient = jax.jit(jax.grad(lambda z, d=derivative: end(z, optimizer, d)))(z)
        np.testing.assert_allclose(gradient @ along, difference, rtol=1e-6)


def test_lbfgs_of_optax_is_a_path_too(standard_promotion):
    value = end(jnp.array([0.3, 0.2, 0.7]), optax.lbfgs(), Unroll())
    np.testing.assert_allclose(value, 0.3 / 1.7 + 0.2 + 0.5, atol=1e-4)


def test_steps_are_counted_in_whole_numbers():
    with pytest.raises(ValueError, match=r"^steps: got 2\.5"):
        Descent(optax.sgd(0.1), 2.5)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("solver", [Descent(optax.sgd(0.1), STEPS), Momentum(STEPS, 0.1)])
def test_the_residual_of_a_stochastic_path_is_the_gradient_on_its_last_mini_batch(solver):
    key, rows = jax.random.key(5), np.random.default_rng(0).normal(size=(STEPS, 2))

    def loss(w, args, key):
        target, batch = args
        return jnp.sum((w - target - batch - jax.random.normal(key, (2,))) ** 2)

    problem = Stochastic(loss, jnp.zeros(2), jnp.asarray([0.3, -0.2]), key, jnp.asarray(rows))
    solution = argmin(problem, solver=solver, derivative=Unroll())
    drawn = jax.random.normal(jax.random.fold_in(key, STEPS - 1), (2,))
    slope = 2 * (np.asarray(solution.value) - [0.3, -0.2] - rows[-1] - np.asarray(drawn))
    np.testing.assert_allclose(solution.stats["residual"], np.linalg.norm(slope), rtol=1e-12)


def test_a_truncated_path_ends_with_the_last_steps_of_the_path():
    """Each step has a rate of its own, so that the first steps would lead elsewhere."""
    problem = Smooth(lambda w, t: 0.5 * jnp.sum((w - t) ** 2), jnp.zeros(1), jnp.ones(1))
    solver = Momentum(3, jnp.asarray([0.1, 0.2, 0.4]))
    last, whole = (
        argmin(problem, solver=solver, derivative=derivative).value
        for derivative in (Truncated(1), Unroll())
    )
    np.testing.assert_allclose(last, whole, rtol=1e-13)
