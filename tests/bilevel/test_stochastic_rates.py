"""Step sizes of stochastic methods: each variable walks with its own, the adjoint's by default
with the inner one.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel.stochastic import F2SA, SOBA, AmIGO, StochasticBilevel, minimize
from bilevel.stochastic._method import Triple

RNG = np.random.default_rng(1)
X, Y = RNG.normal(size=(6, 2)), RNG.normal(size=6)
GOAL = np.array([0.5, -0.2])


def inner(z, w, rows):
    x, y = rows
    return 0.5 * jnp.mean((x @ w - y) ** 2) + 0.5 * jnp.sum(jnp.exp(z) * w * w)


def outer(z, w, rows):
    del rows
    return 0.5 * jnp.sum((w - GOAL) ** 2) + 0.1 * jnp.sum(z * w)


PROBLEM = StochasticBilevel(inner, outer, (X, Y), (X, Y))
Z, W, V = jnp.asarray([-1.0, 0.3]), jnp.asarray([0.2, 0.1]), jnp.asarray([-0.4, 0.7])


def slope_inner(w):
    return X.T @ (X @ w - Y) / 6 + np.exp(np.asarray(Z)) * w


def slope_outer(w):
    return w - GOAL + 0.1 * np.asarray(Z)


def test_the_two_walks_of_f2sa_have_a_step_size_each():
    """By hand: w descends G, y descends F / lambda + G, and z sees both where they end."""
    lam, rate_w, rate_y, steps = 7.0, 0.1, 0.35, 4
    rates = Triple(*map(jnp.asarray, (rate_w, rate_y, 1.0)))
    at, memory = Triple(W, V, Z), jnp.asarray(lam)
    method = F2SA(lam, growth=2.0, inner_steps=steps)
    found, grown = method.directions(PROBLEM, at, memory, rates, jax.random.key(0))
    w, y = np.asarray(W), np.asarray(V)
    for _ in range(steps):
        w = w - rate_w * slope_inner(w)
        y = y - rate_y * (slope_outer(y) / lam + slope_inner(y))
    squares = 0.5 * np.exp(np.asarray(Z))
    in_z = 0.1 * y + lam * squares * (y**2 - w**2)
    np.testing.assert_allclose(W - rate_w * found.inner, w, rtol=1e-12)
    np.testing.assert_allclose(V - rate_y * found.adjoint, y, rtol=1e-12)
    np.testing.assert_allclose(found.outer, in_z, rtol=1e-12)
    assert float(grown) == lam + 2


def test_the_two_walks_of_amigo_have_a_step_size_each():
    """By hand: w descends G, then v the quadratic of the adjoint at the new w."""
    rate_w, rate_v, steps = 0.1, 0.35, 3
    rates = Triple(*map(jnp.asarray, (rate_w, rate_v, 1.0)))
    found, _ = AmIGO(steps, steps).directions(
        PROBLEM, Triple(W, V, Z), (), rates, jax.random.key(0)
    )
    w, v = np.asarray(W), np.asarray(V)
    for _ in range(steps):
        w = w - rate_w * slope_inner(w)
    hessian = X.T @ X / 6 + np.diag(np.exp(np.asarray(Z)))
    for _ in range(steps):
        v = v - rate_v * (hessian @ v + slope_outer(w))
    np.testing.assert_allclose(W - rate_w * found.inner, w, rtol=1e-12)
    np.testing.assert_allclose(V - rate_v * found.adjoint, v, rtol=1e-12)
    np.testing.assert_allclose(found.outer, 0.1 * w + np.exp(np.asarray(Z)) * w * v, rtol=1e-12)


@pytest.mark.parametrize("given", [None, 0.3])
def test_the_adjoint_walks_with_the_inner_step_unless_it_has_its_own(given):
    run = minimize(
        PROBLEM, Z, W, method=SOBA(), inner_step=0.2, outer_step=0.05, adjoint_step=given, steps=2
    )
    w, v, z = np.asarray(W), np.zeros(2), np.asarray(Z)
    for _ in range(2):
        hessian = X.T @ X / 6 + np.diag(np.exp(z))
        in_w = X.T @ (X @ w - Y) / 6 + np.exp(z) * w
        in_v = hessian @ v + w - GOAL + 0.1 * z
        in_z = 0.1 * w + np.exp(z) * w * v
        w, v, z = w - 0.2 * in_w, v - (0.2 if given is None else given) * in_v, z - 0.05 * in_z
    np.testing.assert_allclose(run.z, z, rtol=1e-12)
    np.testing.assert_allclose(run.state.at.adjoint, v, rtol=1e-12)


def test_the_adjoint_of_amigo_is_of_the_curvature_at_the_new_point():
    """Of G = sum w^4 / 12 + w'z, whose Hessian w^2 changes with w."""

    def curved(z, w, rows):
        del rows
        return jnp.sum(w**4) / 12 + jnp.sum(z * w)

    problem = StochasticBilevel(curved, outer, (X, Y), (X, Y))
    rates = Triple(*map(jnp.asarray, (0.5, 0.35, 1.0)))
    begin = Triple(W + 1, V, Z)
    found, _ = AmIGO(2, 2).directions(problem, begin, (), rates, jax.random.key(0))
    w, v, z = np.asarray(W) + 1, np.asarray(V), np.asarray(Z)
    for _ in range(2):
        w = w - 0.5 * (w**3 / 3 + z)
    for _ in range(2):
        v = v - 0.35 * (w**2 * v + slope_outer(w))
    np.testing.assert_allclose(W + 1 - 0.5 * found.inner, w, rtol=1e-12)
    np.testing.assert_allclose(V - 0.35 * found.adjoint, v, rtol=1e-12)
    np.testing.assert_allclose(found.outer, 0.1 * w + v, rtol=1e-12)


def test_without_a_key_the_rows_are_those_of_key_zero():
    problem = StochasticBilevel(inner, outer, (X, Y), (X, Y), 2, 3)

    def end(key):
        return minimize(
            problem, Z, W, method=SOBA(), inner_step=0.2, outer_step=0.05, steps=3, key=key
        ).z

    np.testing.assert_array_equal(end(None), end(jax.random.key(0)))
    assert np.all(np.asarray(end(None)) != end(jax.random.key(1)))
