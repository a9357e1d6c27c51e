"""Networks as learners: derivatives of the path, mini-batches, keys, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import attacks
import bilevel
from bilevel import Data, losses
from bilevel.derivatives import BackGradient, Forward, Unroll
from bilevel.learners import Logistic, Network, OnFeatures
from bilevel.networks import MLP, ConvNet, Functions, ResNet
from bilevel.solvers import Descent, Momentum

STEPS = 50
KEY = jax.random.key(3)
TABLE = np.random.default_rng(0).normal(size=(24, 3))
TARGETS = np.tanh(TABLE[:, 0] - TABLE[:, 1] * TABLE[:, 2])
HELD = np.random.default_rng(1).normal(size=(10, 3))


def leaves():
    """All that a training depends on, as one tree."""
    start = MLP((4,), 1).init(KEY, jax.ShapeDtypeStruct((3,), jnp.float64))
    return {
        "x": jnp.asarray(TABLE),
        "y": jnp.asarray(TARGETS),
        "weight": jnp.linspace(0.5, 1.5, 24),
        "l2": jnp.asarray(0.01),
        "rate": jnp.asarray(0.2),
        "start": start,
    }


def held_out(of, solver, derivative, batch=None):
    """A smooth number of the model trained from the leaves."""
    net = Network(
        MLP((4,), 1),
        losses.Squares(),
        l2=of["l2"],
        batch=batch,
        start=of["start"],
        solver=solver(of["rate"]),
        derivative=derivative,
    )
    data = Data(of["x"], of["y"], of["weight"])
    model = net.fit(data, key=KEY, throw=False).model
    return jnp.sum(model.decision(jnp.asarray(HELD)) ** 2)


def momentum(rate):
    return Momentum(STEPS, rate, 0.5)


def descent(rate):
    return Descent(optax.sgd(rate, momentum=0.5), STEPS)


MODES = {
    "unroll": (momentum, Unroll(1), None),
    "checkpoints": (descent, Unroll(2), None),
    "forward": (momentum, Forward(most=150), None),
    "back-gradient": (momentum, BackGradient(), None),
    "batches": (momentum, Unroll(2), 7),
    "batches, back-gradient": (momentum, BackGradient(), 7),
}


@pytest.mark.parametrize("mode", MODES)
def test_the_hypergradient_is_that_of_central_differences_in_every_leaf(mode):
    solver, derivative, batch = MODES[mode]
    of = leaves()
    value = jax.jit(lambda of: held_out(of, solver, derivative, batch))
    gradient = jax.jit(jax.grad(value))(of)
    rng = np.random.default_rng(5)
    for name in of:
        along = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), of[name])
        slope = sum(
            float(jnp.sum(a * b))
            for a, b in zip(jax.tree.leaves(gradient[name]), jax.tree.leaves(along), strict=True)
        )
        h = 1e-5
        moved = [
            value(of | {name: jax.tree.map(lambda a, b: a + s * h * b, of[name], along)})
            for s in (1, -1)
        ]
        assert abs(slope - float(moved[0] - moved[1]) / (2 * h)) <= 1e-6 * max(1, abs(slope)), name
