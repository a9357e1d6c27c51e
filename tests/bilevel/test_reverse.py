"""Reverse mode where some of the optimality conditions do not depend on what moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from bilevel import Data, argmin
from bilevel.learners import Softmax
from bilevel.problems import QP, BoxQP, Constrained, FixedPoint, Smooth
from bilevel.solvers import ActiveSet, Anderson, Newton, PrimalDual

Q, q, ROW = 2 * jnp.eye(2), jnp.array([-1.0, -2.0]), jnp.array([[1.0, 1.0]])
BOX = jnp.zeros(2), jnp.ones(2)
X = jnp.asarray(np.random.default_rng(0).normal(size=(12, 2)))
START = {"a": jnp.zeros(()), "b": jnp.ones(2)}


def squared(solution) -> jax.Array:
    return jnp.sum(ravel_pytree(solution)[0] ** 2)


def smooth(z):
    def loss(w, args):
        return (w["a"] - args) ** 2 + jnp.sum((w["b"] - 1) ** 2)

    return argmin(Smooth(loss, START, z), solver=Newton()).value


def fixed(z):
    def half(w, args):
        return {"a": 0.5 * w["a"] + args, "b": 0.5 * w["b"]}

    return argmin(FixedPoint(half, START, z), solver=Anderson()).value


def constrained(z):
    problem = Constrained(
        lambda x, _: jnp.sum((x - 1) ** 2), BOX[0], z, inequalities=lambda x, z: x[:1] - z
    )
    return argmin(problem, solver=PrimalDual()).value.x


CASES = {
    "QP in h": lambda z: argmin(QP(Q, q, G=ROW, h=z[None]), solver=PrimalDual()).value.x,
    "QP in b": lambda z: argmin(QP(Q, q, A=ROW, b=z[None]), solver=PrimalDual()).value.x,
    "BoxQP in b": lambda z: argmin(BoxQP(Q, q, *BOX, jnp.ones(2), z), solver=ActiveSet()).value[0],
    "Softmax in l2": lambda z: Softmax(3, z).fit(Data(X, jnp.arange(12) % 3)).model.W,
    "Smooth, one leaf of a dict": smooth,
    "FixedPoint, one leaf of a dict": fixed,
    "Constrained in a bound": constrained,
}


@pytest.mark.parametrize("name", CASES)
def test_reverse_mode_is_forward_mode(name):
    def value(z):
        return squared(CASES[name](z))

    @jax.jit
    def derivatives(z):
        return jax.grad(value)(z), jax.jacfwd(value)(z), jax.vmap(jax.grad(value))(z[None])

    z, h = jnp.asarray(0.4), 1e-4
    difference = (value(z + h) - value(z - h)) / (2 * h)
    for derivative in derivatives(z):
        np.testing.assert_allclose(jnp.squeeze(derivative), difference, rtol=1e-6)


@pytest.mark.parametrize("name", ["BoxQP in b", "Smooth, one leaf of a dict"])
def test_second_derivatives_too(name):
    value = jax.jit(jax.jacrev(jax.grad(lambda z: squared(CASES[name](z)))))
    forward = jax.jit(jax.jacfwd(jax.jacfwd(lambda z: squared(CASES[name](z)))))
    np.testing.assert_allclose(value(jnp.asarray(0.4)), forward(jnp.asarray(0.4)), rtol=1e-9)
