"""Derivatives along a path whose rows and draws differ from step to step, against NumPy: one that
takes a neighbouring step's rows or draw is of another path.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bilevel import argmin
from bilevel.derivatives import ApproximateReversal, BackGradient, Forward, Truncated, Unroll
from bilevel.problems import Stochastic
from bilevel.solvers import Descent, Momentum

STEPS, RATE, DECAY, LAST = 7, 0.1, 0.5, 3  # a multiple of 1/256, as `Momentum` has it
KEY = jax.random.key(4)
ROWS = np.array([[0, 1], [2, 2], [1, 3], [0, 3], [3, 1], [1, 0], [2, 0]])
DRAWS = np.array([jax.random.normal(jax.random.fold_in(KEY, t)) for t in range(STEPS)])
A, START = jnp.array([1.0, -2.0, 3.0, 0.5]), jnp.asarray(0.4)


def loss(w, args, key):
    """Of rows that are a, and of a draw."""
    a, rows = args
    return 0.5 * jnp.mean((a[rows] * w - 1.0) ** 2) + jax.random.normal(key) * w


def end(a, start, solver, derivative):
    problem = Stochastic(loss, start, a, KEY, jnp.asarray(ROWS))
    return argmin(problem, solver=solver, derivative=derivative).value


def gradient(a, w, t):
    """(gradient of step t in w, its derivatives in w and in a)."""
    mine, count = np.zeros((2, len(a))), ROWS.shape[1]
    mine[np.arange(count), ROWS[t]] = 1
    rows = mine @ a
    slope = np.mean(rows * (rows * w - 1)) + DRAWS[t]
    return slope, np.mean(rows**2), mine.T @ (2 * rows * w - 1) / count


def along(decay, last=STEPS):
    """(end of the path, its derivatives in a and in the start), of the last steps alone."""
    a, w, v = np.asarray(A), float(START), 0.0
    dw, dv = np.append(np.zeros(len(a)), 1.0), np.zeros(len(a) + 1)
    for t in range(STEPS):
        if last < STEPS and t == STEPS - last:  # what comes before is a constant
            dw, dv = 0 * dw, 0 * dv
        slope, in_w, in_a = gradient(a, w, t)
        dv = decay * dv - RATE * (in_w * dw + np.append(in_a, 0.0))
        v = decay * v - RATE * slope
        dw, w = dw + dv, w + v
    return w, dw


def reversed_roughly():
    """The derivatives of plain descent at weights that are restored by w + rate grad(w)."""
    a, (w, _) = np.asarray(A), along(0.0)
    c, sums = 1.0, np.zeros(len(a))
    for t in reversed(range(STEPS)):
        w = w + RATE * gradient(a, w, t)[0]
        _, in_w, in_a = gradient(a, w, t)
        sums -= RATE * c * in_a
        c *= 1 - RATE * in_w
    return np.append(sums, c)


PLAIN, HEAVY = Descent(optax.sgd(RATE), STEPS), Momentum(STEPS, RATE, DECAY)
CASES = {
    "descent, unrolled by 2": (PLAIN, Unroll(2), 0.0, STEPS),
    "descent, last": (PLAIN, Truncated(LAST), 0.0, LAST),
    "momentum, unrolled": (HEAVY, Unroll(), DECAY, STEPS),
    "momentum, forward": (HEAVY, Forward(), DECAY, STEPS),
    "momentum, reversed": (HEAVY, BackGradient(), DECAY, STEPS),
}


@pytest.fixture(scope="module")
def found():
    @jax.jit
    def every(a, start):
        return {
            name: jax.value_and_grad(end, (0, 1))(a, start, solver, derivative)
            for name, (solver, derivative, _, _) in CASES.items()
        }

    return every(A, START)


@pytest.mark.parametrize("name", CASES)
def test_every_derivative_takes_each_step_with_its_own_rows_and_draw(name, found):
    value, slopes = along(*CASES[name][2:])
    np.testing.assert_allclose(found[name][0], value, atol=1e-12)
    np.testing.assert_allclose(jnp.append(*found[name][1]), slopes, atol=1e-11)


def test_the_rough_reversal_goes_back_through_the_same_steps():
    slopes = jax.jit(jax.grad(end, (0, 1)), static_argnums=(2, 3))
    got = jnp.append(*slopes(A, START, PLAIN, ApproximateReversal(RATE)))
    np.testing.assert_allclose(got, reversed_roughly(), rtol=1e-11)
    assert np.max(np.abs(got - along(0.0)[1])) > 0.01
