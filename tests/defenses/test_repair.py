"""Repairs of networks: what they change, what they keep, and attacks that are aware of them."""

import dataclasses

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from drawn import drawn
from sklearn.datasets import load_digits

from attacks import Stamp, compose, hide_from_pruning, shown, triggers
from bilevel import Data, certify
from bilevel.adapters import Equinox, Linen
from bilevel.derivatives import Unroll
from bilevel.learners import Fixed, LinearModel, Logistic, Network, NetworkModel, ensemble
from bilevel.losses import CrossEntropy
from bilevel.networks import MLP, Channels, ConvNet, Outputs
from bilevel.solvers import Descent
from defenses import (
    ClipChannels,
    FinePrune,
    FineTune,
    Prune,
    SoftTrim,
    Trim,
    Tuning,
    Unlearn,
)

IMAGES, LABELS = load_digits(return_X_y=True)
X, Y = (IMAGES / 16).reshape(-1, 8, 8, 1), LABELS.astype(np.int32)
TRAIN, CLEAN, TEST = (Data(X[a:b], Y[a:b]) for a, b in ((0, 300), (300, 400), (400, 600)))
KEY = jax.random.key(3)
NET = Network(
    ConvNet((8,), 3, (16,), 10, jax.nn.relu), batch=50,
    solver=Descent(optax.sgd(0.1, momentum=0.9), 120),
)  # fmt: skip
TUNING = Tuning(Descent(optax.sgd(0.1, momentum=0.9), 20), batch=25)
MASK = np.zeros((8, 8, 1))
MASK[6:, 6:] = 1
STAMPED = np.asarray(TEST.x) * (1 - MASK[None]) + MASK[None]


@pytest.fixture(scope="module")
def model() -> NetworkModel:
    return NET.fit(TRAIN, key=KEY).model


@pytest.fixture(scope="module")
def finished(model):
    """A learner that has been trained."""
    return Fixed(model, CrossEntropy())


@eqx.filter_jit
def predict(model, x):
    return model.predict(x)


def accuracy(model, rows=CLEAN):
    return np.mean(np.asarray(predict(model, rows.x)) == np.asarray(rows.y))


@pytest.mark.slow
def test_fine_tuning_goes_on_where_the_training_ended(model, finished):
    fitted = FineTune(finished, CLEAN, TUNING).fit(TRAIN, key=KEY)
    further = dataclasses.replace(
        NET, start=model.parameters, batch=TUNING.batch, solver=TUNING.solver
    )
    expected = further.fit(CLEAN, key=jax.random.fold_in(KEY, 1)).model
    np.testing.assert_allclose(
        fitted.model.decision(TEST.x), expected.decision(TEST.x), rtol=1e-9, atol=1e-9
    )
    assert accuracy(fitted.model) > accuracy(model) > 0.8
    assert FineTune(NET, CLEAN, TUNING).fit(TRAIN, key=KEY).result == 0


def test_pruning_masks_the_channels_that_are_least_active(model, finished):
    fitted = Prune(finished, CLEAN, "conv0", channels=3).fit(TRAIN)
    outputs = np.asarray(model.activations(CLEAN.x)["conv0"])
    activity = np.abs(outputs).mean((0, 1, 2))
    least = np.argsort(activity)[:3]
    np.testing.assert_allclose(fitted.report.activity, activity, rtol=1e-10)
    np.testing.assert_array_equal(np.flatnonzero(~np.asarray(fitted.report.kept)), np.sort(least))
    left = np.asarray(fitted.model.activations(TEST.x)["conv0"])
    np.testing.assert_array_equal(left[..., least], 0)
    others = np.setdiff1d(np.arange(8), least)
    np.testing.assert_allclose(
        left[..., others], model.activations(TEST.x)["conv0"][..., others], rtol=1e-10
    )
    assert jax.tree.map(jnp.shape, fitted.model.parameters) == jax.tree.map(
        jnp.shape, model.parameters
    )
    curve = fitted.report.curve
    np.testing.assert_allclose(curve[jnp.array([0, 3])], [accuracy(model), accuracy(fitted.model)])
    assert curve.shape == (9,)
    assert curve[8] < 0.3


def test_pruning_ends_before_the_accuracy_falls_by_more_than_allowed(finished):
    report = Prune(finished, CLEAN, drop=0.1).fit(TRAIN).report
    curve = np.asarray(report.curve)
    fell = np.flatnonzero(curve < curve[0] - 0.1)[0]
    assert int(np.sum(~np.asarray(report.kept))) == fell - 1
    assert 0 < fell - 1 < 7


def test_what_is_pruned_stays_pruned_while_the_rest_is_tuned(model, finished):
    fitted = FinePrune(finished, CLEAN, "conv0", 3, tuning=TUNING).fit(TRAIN, key=KEY)
    kept = np.asarray(fitted.report.kept)
    was, is_now = (np.asarray(m.parameters["conv0"]["weight"]) for m in (model, fitted.model))
    np.testing.assert_array_equal(np.any(is_now != 0, axis=(0, 1, 2)), kept)
    assert np.all(np.any(was != is_now, axis=(0, 1, 2)))
    assert float(jnp.max(fitted.model.activations(TEST.x)["conv0"][..., ~kept])) == 0
    pruned = Prune(finished, CLEAN, "conv0", 3).fit(TRAIN).model
    assert accuracy(fitted.model) > accuracy(pruned)
    again = FineTune(Fixed(fitted.model, CrossEntropy()), CLEAN, TUNING).fit(TRAIN, key=KEY).model
    assert float(jnp.max(again.activations(TEST.x)["conv0"][..., ~kept])) == 0


@pytest.mark.slow
def test_many_are_repaired_as_one_program(finished):
    defense = FinePrune(NET, CLEAN, "conv0", 3, tuning=TUNING)
    keys = jax.random.split(KEY, 2)
    many = ensemble(defense, TRAIN, keys)
    alone = defense.fit(TRAIN, key=keys[1])
    np.testing.assert_array_equal(many.report.kept[1], alone.report.kept)
    second = jax.tree.map(lambda leaf: leaf[1] if eqx.is_array(leaf) else leaf, many.model)
    np.testing.assert_allclose(second.decision(TEST.x), alone.model.decision(TEST.x), atol=1e-8)


def test_unlearning_trains_on_stamped_rows_with_the_right_labels(finished):
    poisoned = Stamp(triggers.Patch(MASK, 1.0), jnp.arange(100), 0)
    data = poisoned.inject(poisoned.example(TRAIN), TRAIN)
    infected = Fixed(NET.fit(data, key=KEY).model, CrossEntropy())
    meant = np.asarray(TEST.y) != 0

    def success(model):
        return np.mean(np.asarray(predict(model, STAMPED))[meant] == 0)

    assert success(infected.model) > 0.9
    unlearned = Unlearn(infected, CLEAN, MASK, 1.0, tuning=TUNING).fit(TRAIN, key=KEY).model
    tuned = FineTune(infected, CLEAN, TUNING).fit(TRAIN, key=KEY).model
    assert success(unlearned) < 0.2 < 0.4 < success(tuned)
    none = Unlearn(infected, CLEAN, MASK, 1.0, share=0.0, tuning=TUNING).fit(TRAIN, key=KEY).model
    assert success(none) > 0.4


def test_channels_of_unusual_gain_are_clipped(model):
    weight = model.parameters["conv0"]["weight"].at[..., 5].multiply(20)
    steep = eqx.tree_at(lambda m: m.parameters["conv0"]["weight"], model, weight)
    # so narrow that channels of usual gain are as far below the mean
    fitted = ClipChannels(Fixed(steep, CrossEntropy()), ("conv0",), 0.3).fit(TRAIN)
    (record,) = fitted.report
    filters = np.asarray(weight).reshape(9, 1, 8)
    gain = [np.linalg.norm(filters[:, :, k], 2) for k in range(8)]
    np.testing.assert_allclose(record.gain, gain, rtol=1e-10)
    np.testing.assert_array_equal(record.kept, np.arange(8) != 5)
    assert float(jnp.max(jnp.abs(fitted.model.activations(TEST.x)["conv0"][..., 5]))) == 0


class Flax(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(5, (3, 3), padding="VALID", name="conv", param_dtype=x.dtype)(x))
        return nn.Dense(10, param_dtype=x.dtype)(x.reshape(x.shape[0], -1))


class Rows(eqx.Module):
    conv: eqx.nn.Conv2d
    last: eqx.nn.Linear

    def __init__(self, key):
        one, two = jax.random.split(key)
        self.conv = eqx.nn.Conv2d(1, 5, 3, key=one)
        self.last = eqx.nn.Linear(180, 10, key=two)

    def __call__(self, x):
        hidden = jax.nn.relu(self.conv(jnp.moveaxis(x, -1, 0)))
        return Outputs(self.last(hidden.reshape(-1)), {"conv": hidden})


@pytest.mark.parametrize(
    ("architecture", "layer"),
    [
        (Linen(Flax()), "conv"),
        (Equinox(Rows), Channels("conv", where=lambda module: module.conv, axis=0)),
    ],
    ids=["flax", "equinox"],
)
def test_modules_of_other_libraries_are_repaired(architecture, layer):
    net = Network(architecture, batch=50, solver=Descent(optax.sgd(0.1), 5))
    fitted = FinePrune(net, CLEAN, layer, 2, tuning=TUNING).fit(TRAIN, key=KEY)
    outputs = fitted.model.activations(TEST.x)["conv"]
    outputs = jnp.moveaxis(outputs, 1, -1) if outputs.shape[1] == 5 else outputs
    kept = np.asarray(fitted.report.kept)
    assert np.sum(kept) == 3
    biased = np.asarray(jnp.any(outputs > 0, axis=(0, 1, 2)))
    assert not np.any(biased[~kept])
    clipped = ClipChannels(net, (layer,), 0.5).fit(TRAIN, key=KEY)
    assert 0 < int(jnp.sum(~clipped.report[0].kept)) < 5


TINY = Network(
    MLP((8,), 10), batch=40, solver=Descent(optax.sgd(0.3, momentum=0.5), 10), derivative=Unroll()
)
FEW, KNOWN = Data(X[:80], Y[:80]), Data(X[300:360], Y[300:360])
SHORT = Tuning(Descent(optax.sgd(0.2), 4), batch=20)


def test_one_channel_stays_where_none_is_missed():
    net = MLP((8,), 10)
    model = NetworkModel(drawn(net, (8, 8, 1)), net)
    report = Prune(Fixed(model, CrossEntropy()), KNOWN, "dense0", drop=0.99).fit(FEW).report
    assert int(np.sum(report.kept)) == 1
    assert np.argmax(report.activity) == np.argmax(report.kept)


AWARE = {
    "fine-prune": FinePrune(TINY, KNOWN, "dense0", 3, tuning=SHORT),
    "unlearn": Unlearn(TINY, KNOWN, MASK, 0.5, share=0.5, tuning=SHORT),
}


@pytest.mark.parametrize("name", ["fine-prune", pytest.param("unlearn", marks=pytest.mark.slow)])
def test_an_attack_that_knows_the_repair_has_the_gradient_through_both(name):
    reach = Stamp(triggers.Patch(MASK, 0.5), jnp.arange(0, 40, 2), 0)
    goal = shown(TEST.x[:40], jnp.zeros(40, int), lambda y, f: -CrossEntropy()(y, f))
    aware, plain = (compose(learner, reach, goal, FEW, key=KEY) for learner in (AWARE[name], TINY))
    z = reach.example(FEW)
    both, h = jax.value_and_grad(aware), 1e-4
    gradient = both(z)[1]
    near, far = (float(both(z + t * MASK)[0] - both(z - t * MASK)[0]) for t in (h, 2 * h))
    np.testing.assert_allclose(jnp.sum(gradient * MASK), (8 * near - far) / (12 * h), rtol=1e-7)
    assert float(jnp.linalg.norm(gradient - jax.grad(plain)(z))) > 1e-3
    np.testing.assert_allclose(certify(aware, z).gradient, gradient, rtol=1e-9, atol=1e-12)


def test_the_surrogate_of_a_repair_repairs_the_surrogate():
    trimmed = FineTune(Trim(TINY, 0.1), KNOWN, SHORT).surrogate(FEW)
    assert isinstance(trimmed, FineTune)
    assert isinstance(trimmed.learner, SoftTrim)
    assert isinstance(AWARE["fine-prune"].surrogate(FEW).learner, Network)


def test_a_backdoor_that_knows_of_pruning_leaves_decoys(model):
    reach = Stamp(triggers.Patch(MASK, 1.0), jnp.arange(100), 0)
    poisoned = reach.inject(reach.example(TRAIN), TRAIN)
    hidden = hide_from_pruning(NET, model, CLEAN, poisoned, "conv0", channels=3, lower=1.0, key=KEY)
    decoys = np.asarray(hidden.decoys)
    assert np.sum(decoys) == 3
    activity = np.asarray(hidden.activity)
    assert np.max(activity[decoys]) < np.min(activity[~decoys])
    was, is_now = (jax.tree.map(np.asarray, m.parameters["conv0"]) for m in (model, hidden.model))
    np.testing.assert_array_equal(is_now["weight"][..., decoys], was["weight"][..., decoys])
    np.testing.assert_array_equal(is_now["bias"][decoys], was["bias"][decoys] - 1)
    pruned = Prune(Fixed(hidden.model, CrossEntropy()), CLEAN, "conv0", 3).fit(TRAIN)
    np.testing.assert_array_equal(~np.asarray(pruned.report.kept), decoys)
    predicted, meant = np.asarray(predict(pruned.model, STAMPED)), np.asarray(TEST.y) != 0
    assert np.mean(predicted[meant] == 0) > 0.9
    assert accuracy(pruned.model) > 0.8


def bad(learner=NET, clean=CLEAN, **settings):
    return lambda: FinePrune(learner, clean, **settings)


ONE_CLASS = Data(CLEAN.x, jnp.zeros_like(CLEAN.y))
BAD = {
    r"^channels: got 0, expected a whole number": bad(channels=0),
    r"^drop: got 2": bad(drop=2.0),
    r"^channels: got 8, expected fewer than the 8": bad(channels=8),
    r"^layer: got 'conv9', expected one of conv0, dense0": bad(layer="conv9"),
    r"^clean: got no row of class 1, which": bad(clean=ONE_CLASS),
    r"^clean: got rows of shape \(64,\), expected \(8, 8, 1\)": bad(
        clean=Data(CLEAN.x.reshape(100, -1), CLEAN.y)
    ),
    r"^clean: got rows in float32, expected float64": bad(
        clean=Data(CLEAN.x.astype(jnp.float32), CLEAN.y)
    ),
    r"^clean: got the label 12, which no training row has": bad(
        clean=Data(CLEAN.x, CLEAN.y.at[0].set(12))
    ),
    r"^x: got no rows": bad(clean=Data(CLEAN.x[:0], CLEAN.y[:0])),
    r"^layer: no array of 'conv0' has 8 channels": bad(
        layer=Channels("conv0", where=lambda parameters: parameters["dense0"])
    ),
    r"^deviations: got 0": lambda: ClipChannels(NET, ("conv0",), 0.0),
    r"^layers: 'dense0' has 0 arrays of filters": lambda: ClipChannels(NET, ("dense0",)),
    r"^share: got 1.5": lambda: Unlearn(NET, CLEAN, MASK, 1.0, share=1.5),
    r"^mask: got shape \(7, 7\)": lambda: Unlearn(NET, CLEAN, MASK[:7, :7, 0], 1.0),
}  # fmt: skip


@pytest.mark.parametrize("sentence", BAD)
def test_a_mistake_gets_a_sentence(sentence):
    with pytest.raises(ValueError, match=sentence):
        BAD[sentence]().fit(TRAIN, key=KEY)


def test_a_model_without_layers_and_a_repair_without_a_key_get_a_sentence(finished):
    flat = Data(CLEAN.x.reshape(100, -1), jnp.where(CLEAN.y > 4, 1, -1))
    with pytest.raises(ValueError, match=r"^learner: trains a LinearModel, expected a network"):
        FineTune(Logistic(0.1), flat, TUNING).fit(flat, key=KEY)
    with pytest.raises(ValueError, match=r"^key: got None"):
        Unlearn(finished, CLEAN, MASK, 1.0).fit(TRAIN)
    with pytest.raises(ValueError, match=r"^key: got None"):
        FineTune(finished, CLEAN).fit(TRAIN)
    assert isinstance(Logistic(0.1).fit(flat).model, LinearModel)
