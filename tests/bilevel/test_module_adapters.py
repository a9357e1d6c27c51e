"""Modules of flax and equinox as architectures."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from bilevel import Data
from bilevel.adapters import Equinox, Linen, Nnx
from bilevel.learners import Network
from bilevel.networks import Functions, Outputs
from bilevel.solvers import Descent

X = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
Y = np.arange(12) % 2
KEY = jax.random.key(0)


class LinenNet(nn.Module):
    rate: float = 0.5
    norm: bool = False

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.tanh(nn.Dense(5)(x))
        if self.norm:
            x = nn.BatchNorm(use_running_average=not train)(x)
        x = nn.Dropout(self.rate, deterministic=not train)(x)
        self.sow("intermediates", "last", x)
        return nn.Dense(2)(x)


class NnxNet(nnx.Module):
    def __init__(self, rngs, norm=False):
        self.first, self.second = nnx.Linear(4, 5, rngs=rngs), nnx.Linear(5, 2, rngs=rngs)
        self.norm = nnx.BatchNorm(5, rngs=rngs) if norm else (lambda x: x)
        self.drop = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        h = self.drop(self.norm(jnp.tanh(self.first(x))))
        return Outputs(self.second(h), {"last": h})


class EquinoxNet(eqx.Module):
    first: eqx.nn.Linear
    second: eqx.nn.Linear
    drop: eqx.nn.Dropout
    norm: eqx.nn.BatchNorm | None

    def __init__(self, key, norm=False):
        a, b = jax.random.split(key)
        self.first = eqx.nn.Linear(4, 5, dtype=jnp.float32, key=a)
        self.second = eqx.nn.Linear(5, 2, dtype=jnp.float32, key=b)
        self.drop = eqx.nn.Dropout(0.5)
        self.norm = eqx.nn.BatchNorm(5, "rows", mode="ema", dtype=jnp.float32) if norm else None

    def __call__(self, x, key):
        h = self.drop(jnp.tanh(self.first(x)), key=key)
        return Outputs(self.second(h), {"last": h})


ARCHITECTURES = {"linen": Linen(LinenNet()), "nnx": Nnx(NnxNet), "equinox": Equinox(EquinoxNet)}


def weights(name, parameters):
    """(weight, bias) of the first and of the last layer, as NumPy arrays."""
    if name == "linen":
        return [(p["kernel"], p["bias"]) for p in (parameters["Dense_0"], parameters["Dense_1"])]
    if name == "nnx":
        return [(p["kernel"], p["bias"]) for p in (parameters["first"], parameters["second"])]
    return [(p.weight.T, p.bias) for p in (parameters.first, parameters.second)]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_module_is_trained_and_decides_as_its_weights_say(name):
    net = Network(ARCHITECTURES[name], solver=Descent(optax.sgd(0.5), 30))
    model = net.fit(Data(X, Y), key=KEY).model
    (w, b), (v, c) = weights(name, model.parameters)
    hidden = np.tanh(X @ np.asarray(w) + np.asarray(b))
    np.testing.assert_allclose(model.decision(X), hidden @ np.asarray(v) + np.asarray(c), atol=1e-5)
    np.testing.assert_allclose(model.features(jnp.asarray(X)), hidden, atol=1e-5)
    assert np.abs(np.asarray(b)).max() > 1e-3  # it moved


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_dropout_is_drawn_from_the_key_and_off_without_one(name):
    architecture = ARCHITECTURES[name]
    row = jax.ShapeDtypeStruct((4,), jnp.float32)
    parameters = architecture.init(KEY, row)

    @jax.jit
    def activations(key):
        return architecture.apply(parameters, jnp.asarray(X), key).activations

    def hidden(key):
        (h,) = activations(key).values()
        return np.asarray(h)

    assert np.mean(hidden(None) == 0) == 0
    assert 0.2 < np.mean(hidden(KEY) == 0) < 0.8
    assert len(np.unique(hidden(KEY) == 0, axis=0)) > 6  # a mask for each row
    np.testing.assert_array_equal(hidden(KEY), hidden(KEY))
    assert not np.array_equal(hidden(KEY), hidden(jax.random.key(1)))


class Told(nn.Module):
    """Its logits say what it was told: whether it is evaluated."""

    def __call__(self, x, deterministic):
        return jnp.full(x.shape[0], float(deterministic))


@pytest.mark.parametrize(("key", "evaluated"), [(KEY, 0), (None, 1)])
def test_a_module_that_wants_to_know_is_deterministic_without_a_key(key, evaluated):
    outputs = Linen(Told()).apply({}, jnp.zeros((2, 3)), key)
    np.testing.assert_array_equal(outputs.logits, evaluated)


def test_dropout_is_on_in_a_training_of_all_rows_at_once():
    def fit(rate):
        return (
            Network(Linen(LinenNet(rate)), solver=Descent(optax.sgd(0.5), 5))
            .fit(Data(X, Y), key=KEY)
            .model.parameters["Dense_0"]["kernel"]
        )

    assert not np.allclose(fit(0.5), fit(0.0), atol=1e-3)


def test_two_plain_functions_are_an_architecture():
    pair = Functions(
        lambda key: {"w": jax.random.normal(key, (4, 2), jnp.float32)}, lambda p, x: x @ p["w"]
    )
    model = Network(pair, solver=Descent(optax.sgd(0.5), 5)).fit(Data(X, Y), key=KEY).model
    np.testing.assert_allclose(model.decision(X), X @ np.asarray(model.parameters["w"]), atol=1e-5)
    with pytest.raises(ValueError, match="features: the network reports no activations"):
        model.features(jnp.asarray(X))


@pytest.mark.parametrize(
    "architecture",
    [
        Linen(LinenNet(norm=True)),
        Nnx(lambda rngs: NnxNet(rngs, norm=True)),
        Equinox(lambda key: EquinoxNet(key, norm=True)),
    ],
    ids=["linen", "nnx", "equinox"],
)
def test_batch_norms_are_refused_with_a_remedy(architecture):
    with pytest.raises(ValueError, match="got state beside the parameters"):
        Network(architecture).fit(Data(X, Y), key=KEY)
