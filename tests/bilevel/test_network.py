"""Networks as learners: derivatives of the path, mini-batches, keys, and what is refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import attacks
import bilevel
from bilevel import Data, losses
from bilevel.derivatives import BackGradient, Forward, Truncated, Unroll
from bilevel.learners import LinearModel, Logistic, Network, OnFeatures, ensemble
from bilevel.networks import MLP, ConvNet, Functions, ResNet
from bilevel.networks._convolution import by_patches, by_xla
from bilevel.networks._layers import layer, normalised, standardised
from bilevel.solvers import Descent, Momentum
from defenses import Filter

STEPS = 50
KEY = jax.random.key(3)
TABLE = np.random.default_rng(0).normal(size=(24, 3))
TARGETS = np.tanh(TABLE[:, 0] - TABLE[:, 1] * TABLE[:, 2])
HELD = np.random.default_rng(1).normal(size=(10, 3))


def leaves():
    """All that a training depends on, as one tree. `jnp.asarray(0.01)` has a weak type: moved, it
    would be compiled for again.
    """
    start = MLP((4,), 1).init(KEY, jax.ShapeDtypeStruct((3,), jnp.float64))
    return {
        "x": TABLE,
        "y": TARGETS,
        "weight": np.linspace(0.5, 1.5, 24),
        "l2": np.asarray(0.01),
        "rate": np.asarray(0.2),
        "start": jax.tree.map(np.asarray, start),
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
    both = jax.jit(jax.value_and_grad(lambda of: held_out(of, solver, derivative, batch)))
    gradient = both(of)[1]
    rng = np.random.default_rng(5)
    for name in of:
        along = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), of[name])
        pairs = zip(*map(jax.tree.leaves, (gradient[name], along)), strict=True)
        slope = sum(float(np.vdot(g, a)) for g, a in pairs)
        ahead, back = (
            both(of | {name: jax.tree.map(lambda a, b, h=h: a + h * b, of[name], along)})[0]
            for h in (1e-5, -1e-5)
        )
        assert abs(slope - float(ahead - back) / 2e-5) <= 1e-6 * max(1, abs(slope)), name


def composed(solver, derivative):
    """An attack on a network by one row, and the row."""
    net = Network(MLP((4,), 1), losses.Logistic(), solver=solver, derivative=derivative)
    signs = np.sign(TARGETS)
    reach = attacks.Insert([1], attacks.Box(-3.0, 3.0))
    goal = attacks.indiscriminate(TABLE[:8], signs[:8], losses.Logistic())
    attack = attacks.compose(net, reach, goal, Data(TABLE[8:], signs[8:]), key=KEY)
    return attack, jnp.asarray(HELD[:1])


@pytest.mark.parametrize(
    "derivative", [Unroll(1), pytest.param(Unroll(2), marks=pytest.mark.slow)], ids=["1", "2"]
)
def test_the_second_derivative_along_a_path_is_that_of_differences(derivative):
    attack, z = composed(Descent(optax.sgd(0.5, momentum=0.9), 20), derivative)
    along = jnp.asarray([[1.0, -2.0, 0.5]])
    both = jax.jit(lambda z: jax.jvp(jax.grad(attack), (z,), (along,)))
    product = both(z)[1]
    ahead, back = (both(z + h * along)[0] for h in (1e-5, -1e-5))
    np.testing.assert_allclose(product, (ahead - back) / 2e-5, rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_the_certificate_of_a_network_bounds_the_error_of_each_derivative():
    exact = None
    for derivative in (Unroll(2), BackGradient(), Truncated(5)):
        attack, z = composed(Momentum(20, 0.5, 0.9), derivative)
        certificate = bilevel.certify(attack, z)
        gradient = certificate.gradient
        exact = gradient if exact is None else exact
        error = float(jnp.linalg.norm(gradient - exact))
        assert error <= certificate.error_bound, derivative
        assert not certificate.zero, derivative
        if isinstance(derivative, Truncated):
            assert error > 0.1 * float(jnp.linalg.norm(exact))
            assert certificate.error_bound < 100 * error
        else:
            assert certificate.error_bound < 1e-11


def test_each_pass_takes_every_row_once_in_another_order():
    net = Network(MLP((2,), 1), losses.Squares(), batch=5, solver=momentum(0.1))
    data = Data(TABLE, TARGETS)
    order = np.asarray(jax.jit(lambda key: net.training(data, key=key).problem.series)(KEY))
    assert order.shape == (STEPS, 5)
    passes = order[: STEPS // 4 * 4].reshape(-1, 20)  # 24 rows: the last 4 of a pass are left out
    assert all(len(set(rows)) == 20 for rows in passes)
    assert not np.array_equal(passes[0], passes[1])
    assert len(np.unique(order)) == 24
    assert net.steps_for(24, 3) == 12


def test_a_row_of_weight_zero_has_no_effect_and_weights_count_as_copies():
    net = Network(MLP((3,), 1), losses.Squares(), l2=0.1, solver=momentum(0.2))
    data = Data(TABLE, TARGETS)
    x, y = np.vstack([TABLE, TABLE[:2]]), np.append(TARGETS, TARGETS[:2])
    ones = np.ones(24)

    def decisions(data):
        return net.fit(data, key=KEY).model.decision(jnp.asarray(HELD))

    np.testing.assert_allclose(
        decisions(Data(x, y, np.append(ones, [0, 0]))), decisions(data), rtol=1e-9
    )
    doubled = Data(x, y, np.append(ones, [1, 1]))
    weighted = Data(x, y, np.append([2, 2], np.append(ones[2:], [0, 0])))
    np.testing.assert_allclose(decisions(weighted), decisions(doubled), rtol=1e-9)


@pytest.mark.parametrize("size", [None, 3])
def test_members_are_the_models_of_their_keys(size):
    net = Network(MLP((3,), 1), losses.Squares(), batch=8, solver=momentum(0.1))
    data, keys = Data(TABLE, TARGETS), jax.random.split(KEY, 3)
    members = ensemble(net, data, keys, size)
    f = eqx.filter_vmap(lambda model: model.decision(jnp.asarray(HELD)))(members.model)
    alone = [net.fit(data, key=key).model.decision(jnp.asarray(HELD)) for key in keys]
    np.testing.assert_allclose(f, alone, rtol=1e-9)
    assert members.result.shape == (3,)
    assert not np.allclose(alone[0], alone[1])


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_by_patches_is_that_of_xla_in_value_and_gradient(stride):
    rng = np.random.default_rng(2)
    x, kernel = (
        jnp.asarray(rng.normal(size=(2, 7, 6, 3))),
        jnp.asarray(rng.normal(size=(3, 3, 3, 4))),
    )

    def both(convolve):
        def energy(x, kernel):
            y = convolve(x, kernel, stride)
            return jnp.sum(jnp.sin(y)), y

        return jax.jit(jax.grad(energy, (0, 1), has_aux=True))(x, kernel)

    for a, b in zip(jax.tree.leaves(both(by_patches)), jax.tree.leaves(both(by_xla)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


IMAGES = np.random.default_rng(4).uniform(size=(12, 12, 12, 1))
CLASSES = np.arange(12) % 3


@pytest.mark.parametrize(
    ("architecture", "layers", "features"),
    [
        (MLP((5, 4), 3), ["dense0", "dense1"], 4),
        (ConvNet((2,), 3, (5,), 3), ["conv0", "dense0"], 5),
        (ResNet((4, 8), 1, 4, 3), ["block0", "block1", "mean"], 8),
    ],
    ids=["mlp", "convolutional", "residual"],
)
def test_architectures_report_their_layers_and_learn(architecture, layers, features):
    net = Network(architecture, solver=Descent(optax.adam(0.02), 60))
    data = Data(IMAGES, CLASSES)
    model = net.fit(data, key=KEY).model
    assert list(model.activations(data.x)) == layers
    assert model.features(data.x).shape == (12, features)
    assert np.mean(np.asarray(model.predict(data.x)) == CLASSES) > 0.9


def test_a_head_on_features_is_a_learner_on_those_features():
    body = Network(MLP((4,), 3), solver=momentum(0.3)).fit(Data(IMAGES, CLASSES), key=KEY).model
    signs = np.where(CLASSES == 0, 1, -1)
    data, head = Data(IMAGES, signs), Logistic(0.1)
    model = OnFeatures(body, head).fit(data).model
    alone = head.fit(Data(body.features(data.x), signs)).model
    np.testing.assert_allclose(model.decision(data.x), alone.decision(body.features(data.x)))
    reach = attacks.Insert([1], attacks.Box(0.0, 1.0))
    goal = attacks.indiscriminate(IMAGES[:6], signs[:6], losses.Logistic())
    attack = attacks.compose(OnFeatures(body, head), reach, goal, data)
    z = jnp.asarray(IMAGES[:1]) * 0.9
    along = jnp.asarray(np.random.default_rng(0).normal(size=z.shape))
    both = jax.value_and_grad(attack)
    slope = np.sum(both(z)[1] * along)
    ahead, back = (both(z + h * along)[0] for h in (1e-5, -1e-5))
    np.testing.assert_allclose(slope, (ahead - back) / 2e-5, rtol=1e-6)


def test_features_in_single_precision_are_learned_from_in_double():
    body = LinearModel(jnp.zeros(3, jnp.float32), jnp.float32(0))  # its features are the rows
    x, signs, head = TABLE.astype(np.float32), np.sign(TARGETS), Logistic(0.1)
    learner = OnFeatures(body, head)
    model = learner.fit(Data(x, signs)).model
    alone = head.fit(Data(x.astype(np.float64), signs)).model
    np.testing.assert_allclose(
        model.decision(jnp.asarray(x)), alone.decision(x.astype(np.float64)), rtol=1e-12
    )
    np.testing.assert_array_equal(
        model.decision(learner.prepare_rows(jnp.asarray(x))), model.decision(jnp.asarray(x))
    )


def test_a_head_s_defense_changes_the_rows_of_the_training():
    body = LinearModel(jnp.zeros(3), jnp.zeros(()))
    data, head = Data(TABLE, np.sign(TARGETS)), Filter(Logistic(0.1), contamination=0.25)
    changed = OnFeatures(body, head).training(data).data
    np.testing.assert_array_equal(changed.weight, head.inspect(data).data.weight)
    assert 0 < np.sum(np.asarray(changed.weight) == 0) < 12
    np.testing.assert_array_equal(changed.x, data.x)


def test_groups_of_a_norm_are_channels_side_by_side():
    x = np.random.default_rng(6).normal(size=(2, 3, 4, 6)) * np.arange(1, 7)
    found = normalised(jnp.asarray(x), 2)
    for row in range(2):
        for group in (slice(0, 3), slice(3, 6)):
            part = x[row, :, :, group]
            wanted = (part - part.mean()) / np.sqrt(part.var() + 1e-5)
            np.testing.assert_allclose(found[row, :, :, group], wanted, rtol=1e-12)


def test_the_variance_of_weights_is_one_over_the_inputs_of_a_unit():
    of = layer(KEY, (3, 3, 50, 40), jnp.float64)
    np.testing.assert_allclose(np.std(of["weight"]), 450**-0.5, rtol=0.03)
    np.testing.assert_array_equal(of["bias"], np.zeros(40))
    weight = standardised({**of, "weight": 5 * of["weight"] + 1})["weight"]
    np.testing.assert_allclose(np.mean(weight, axis=(0, 1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(np.var(weight, axis=(0, 1, 2)), 1 / 450, rtol=1e-4)


def table(y=None, x=None, weight=None):
    return Data(TABLE[:6] if x is None else x, [0, 1, 2, 0, 1, 2] if y is None else y, weight)


@pytest.mark.parametrize(
    ("data", "net", "key", "sentence"),
    [
        (table(), {}, None, "key: got None"),
        (table([0, 1, 2, 3, 1, 2]), {}, KEY, "y: got the class number 3, expected 0 to 2"),
        (table([-1, 1, 1, 1, 1, 1]), {}, KEY, "expected class numbers 0, 1"),
        (table([0, 1, 0, 1, 0, 1]), {}, KEY, r"no row with weight > 0 has a class of \[2\]"),
        (table(weight=[1, 1, 0, 1, 1, 0]), {}, KEY, r"has a class of \[2\]"),
        (table(x=TABLE[:6].astype(np.float32)), {"start": True}, KEY, "x: got float32, but the"),
        (table(), {"outputs": 1}, KEY, "loss: CrossEntropy got outputs of shape"),
        (table(), {"l2": -1.0}, KEY, "l2: got -1.0"),
        (table(), {"batch": 0}, KEY, "batch: got 0"),
    ],
)
def test_bad_input_is_a_sentence(data, net, key, sentence):
    settings = dict(net)
    architecture = MLP((2,), settings.pop("outputs", 3))
    if settings.pop("start", False):
        settings["start"] = architecture.init(KEY, jax.ShapeDtypeStruct((3,), jnp.float64))
    with pytest.raises(ValueError, match=sentence):
        Network(architecture, **settings).fit(data, key=key)


def test_rows_that_no_member_can_be_trained_on_are_a_sentence():
    with pytest.raises(ValueError, match="y: got the class number 3, expected 0 to 2"):
        ensemble(Network(MLP((2,), 3)), table([0, 1, 2, 3, 1, 2]), jax.random.split(KEY, 2))


def test_images_too_small_or_no_images_are_a_sentence():
    with pytest.raises(ValueError, match="too few for 2 convolutions of 5 x 5"):
        Network(ConvNet(outputs=3)).fit(Data(IMAGES, CLASSES), key=KEY)
    with pytest.raises(ValueError, match=r"expected \(height, width, channels\)"):
        Network(ConvNet(outputs=3)).fit(table(), key=KEY)


def test_a_training_that_diverges_is_a_failure_with_a_sentence():
    net = Network(MLP((2,), 1), losses.Squares(), solver=momentum(1e6))
    fitted = net.fit(Data(TABLE, TARGETS), key=KEY, throw=False)
    assert fitted.result != bilevel.results.CONVERGED
    with pytest.raises(bilevel.SolveError):
        net.fit(Data(TABLE, TARGETS), key=KEY)


TRACED: list[tuple[int, ...]] = []


def outputs_that_are_counted(w, x):
    TRACED.append(x.shape)
    return x @ w


def test_a_second_training_does_not_trace_the_network_again():
    def net() -> Network:
        def of_key(key):
            return jax.random.normal(key, (2, 3))

        return Network(Functions(of_key, outputs_that_are_counted), solver=momentum(0.1))

    rows = Data(TABLE[:, :2], np.arange(24) % 3)
    net().fit(rows, key=jax.random.key(0))
    first = len(TRACED)
    assert first > 0
    net().fit(rows, key=jax.random.key(1))
    net().check(rows)
    assert len(TRACED) == first
