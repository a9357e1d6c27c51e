"""The contracts carry what was not there when they were made: a network, a trigger, evasion."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from network import Network, NetworkModel, images, members

from attacks import (
    Box,
    Evade,
    Insert,
    LinfBall,
    Stamp,
    compose,
    indiscriminate,
    shown,
    targeted,
    triggers,
)
from bilevel import Ascent, Data, Expected, Fresh, Frozen, certify, maximize
from bilevel.derivatives import BackGradient, Forward, Truncated, Unroll
from bilevel.learners import Fixed, Logistic
from bilevel.losses import Logistic as LogisticLoss
from bilevel.networks import Channels
from bilevel.solvers import Descent, Momentum
from defenses import FinePrune, Tuning

TRAIN = Data(*images(0, 40))
HELD_OUT: tuple[jax.Array, jax.Array] = images(1, 30)
KEY = jax.random.key(7)
MASK = jnp.zeros((6, 6, 1)).at[4:, 4:].set(1.0)
STAMP = Stamp(triggers.Patch(MASK, 0.3, Box(-1.0, 1.0)), jnp.arange(0, 24, 2), 1)
GOAL = targeted(HELD_OUT[0], jnp.ones(30, int), HELD_OUT[0], HELD_OUT[1], LogisticLoss())


def difference(function, z, along, h=1e-4):
    near, far = (function(z + t * along) - function(z - t * along) for t in (h, 2 * h))
    return float(8 * near - far) / (12 * h)


@pytest.mark.slow  # the part is real by now, and has tests of its own
def test_a_network_trains_from_a_key_and_many_as_one_program():
    learner = Network()
    fitted = learner.fit(TRAIN, key=KEY)
    model = fitted.model
    assert isinstance(model, NetworkModel)
    assert float(jnp.mean(model.predict(HELD_OUT[0]) == HELD_OUT[1])) > 0.9
    assert model.features(HELD_OUT[0]).shape == (30, 96)
    assert fitted.warm is None  # a path: going on would be another function
    np.testing.assert_array_equal(learner.fit(TRAIN, key=KEY).model.parameters["dense"],
                                  model.parameters["dense"])  # fmt: skip
    many = members(learner, TRAIN, jax.random.split(KEY, 3))
    assert many.parameters["dense"].shape == (3, 96)
    with pytest.raises(ValueError, match=r"^key: got None"):
        learner.fit(TRAIN)


SOLVERS = {
    "unroll": (Descent(optax.sgd(0.3, momentum=0.5), 25), Unroll()),
    "checkpoints": (Descent(optax.adam(0.05), 25), Unroll(2)),
    "back gradient": (Momentum(25, 0.3, 0.5), BackGradient()),
    "forward": (Descent(optax.sgd(0.3), 25), Forward(most=10_000)),
}


@pytest.mark.parametrize("name", ["unroll", pytest.param("back gradient", marks=pytest.mark.slow)])
def test_an_attack_on_a_network_has_the_gradient_of_its_path(name):
    learner = Network().using(*SOLVERS[name])
    reach = Insert(jnp.asarray([1, -1]), Box(-3.0, 3.0))
    goal = indiscriminate(*HELD_OUT, LogisticLoss())
    attack = compose(learner, reach, goal, TRAIN, key=KEY)
    z = TRAIN.x[:2]
    certificate = certify(attack, z)
    gradient = jax.grad(attack)(z)
    size = float(np.max(np.abs(gradient)))  # of sums, whose rounding small entries share
    np.testing.assert_allclose(certificate.gradient / size, gradient / size, atol=1e-12)
    along = jax.random.normal(jax.random.key(1), z.shape)
    slope = difference(attack, z, along)
    error = abs(float(jnp.sum(gradient * along)) - slope)
    assert error < 1e-8 * abs(slope) + 1e-10
    assert float(certificate.error_bound) < 1e-8 * float(jnp.linalg.norm(gradient))
    result = maximize(attack, z, steps=4)
    np.testing.assert_allclose(attack(result.z), result.value, rtol=1e-12)
    assert float(result.value) > float(attack(z))


@pytest.mark.slow  # the part is real by now, and has tests of its own
def test_a_truncated_derivative_is_certified_against_the_path():
    learner = Network().using(Descent(optax.sgd(0.3, momentum=0.5), 25), Truncated(3))
    reach = Insert(jnp.asarray([1, -1]), Box(-3.0, 3.0))
    attack = compose(learner, reach, indiscriminate(*HELD_OUT, LogisticLoss()), TRAIN, key=KEY)
    exact = jax.grad(attack.using(attack.solver, Unroll()))(TRAIN.x[:2])
    certificate = certify(attack, TRAIN.x[:2])
    error = float(jnp.linalg.norm(certificate.gradient - exact))
    assert error > 1e-3 * float(jnp.linalg.norm(exact))
    assert error <= float(certificate.error_bound) < 30 * error


@pytest.mark.slow  # the part is real by now, and has tests of its own
def test_a_stamp_changes_both_the_training_rows_and_the_rows_shown():
    goal = shown(HELD_OUT[0][::2], jnp.ones(15, int), lambda y, f: -LogisticLoss()(y, f))
    attack = compose(Network(), STAMP, goal, TRAIN, key=KEY)
    z = STAMP.example(TRAIN)
    world = attack.world(z)
    assert world.train.rows == 52
    assert world.poison is not None
    np.testing.assert_array_equal(world.poison.x, world.train.x[40:])
    stamped = (world.shown(HELD_OUT[0]) != HELD_OUT[0])[0]
    np.testing.assert_array_equal(stamped, MASK == 1)
    gradient = jax.grad(attack)(z)
    slope = difference(jax.jit(attack), z, MASK)
    np.testing.assert_allclose(jnp.sum(gradient * MASK), slope, rtol=1e-7)
    # Without the second half the trigger is constant in the goal through the model alone.
    result = maximize(attack, z, steps=6)
    model = Network().fit(attack.world(result.z).train, key=jax.random.fold_in(KEY, 1)).model
    success = jnp.mean(model.predict(STAMP.present(result.z, HELD_OUT[0][::2])) == 1)
    plain = jnp.mean(model.predict(HELD_OUT[0][::2]) == 1)
    assert float(success) > float(plain) + 0.5


def test_evasion_of_a_fixed_model_is_the_sign_step():
    """One step of projected gradient on logistic regression: x - radius * y * sign(w)."""
    rng = np.random.default_rng(0)
    y = np.where(np.arange(30) % 2, 1, -1)
    x = rng.normal(size=(30, 5)) + 0.8 * y[:, None]
    model = Logistic(0.1).fit(Data(x, y)).model
    radius = 0.2
    reach = Evade(jnp.asarray(x), LinfBall(x, radius, Box(-10.0, 10.0)))
    attack = compose(Fixed(model), reach, shown(x, y, LogisticLoss()), Data(x, y))
    result = maximize(attack, jnp.asarray(x), steps=60)
    expected = x - radius * y[:, None] * np.sign(np.asarray(model.w))[None]
    np.testing.assert_allclose(result.z, expected, atol=1e-12)
    certificate = certify(attack, jnp.asarray(x))
    np.testing.assert_allclose(certificate.gradient, jax.grad(attack)(jnp.asarray(x)), rtol=1e-12)
    f = np.asarray(model.decision(jnp.asarray(x)))
    closed = -y[:, None] * np.asarray(model.w)[None] / (1 + np.exp(y * f))[:, None] / 30
    error = np.linalg.norm(np.asarray(certificate.gradient) - closed)
    assert error <= float(certificate.error_bound) < 1e-12
    # A goal that does not look at the rows shown is constant.
    blind = compose(Fixed(model), reach, indiscriminate(x, y), Data(x, y))
    assert float(jnp.max(jnp.abs(jax.grad(blind)(jnp.asarray(x))))) == 0


@pytest.mark.slow
def test_expectation_over_keys_is_the_mean_and_draws_are_explicit():
    reach = Insert(jnp.asarray([1, -1]), Box(-3.0, 3.0))
    attack = compose(Network(), reach, indiscriminate(*HELD_OUT, LogisticLoss()), TRAIN, key=KEY)
    keys = jax.random.split(jax.random.key(3), 3)
    z = TRAIN.x[:2]
    mean = np.mean([float(attack.keyed(key)(z)) for key in keys])
    expected = Expected(attack, keys)
    np.testing.assert_allclose(expected(z), mean, rtol=1e-12)
    fresh = maximize(attack, z, steps=3, draws=Fresh(jax.random.key(5)))
    again = maximize(attack, z, steps=3, draws=Fresh(jax.random.key(5)))
    np.testing.assert_array_equal(fresh.history, again.history)
    frozen = maximize(attack, z, steps=3, draws=Frozen(jax.random.key(5)))
    np.testing.assert_allclose(frozen.history[0], attack.keyed(jax.random.key(5))(z), rtol=1e-12)
    assert not np.array_equal(fresh.history, frozen.history)


@pytest.mark.slow
def test_a_saved_run_goes_on_through_equinox_files(tmp_path):
    reach = Insert(jnp.asarray([1, -1]), Box(-3.0, 3.0))
    flat, held_out = TRAIN.x.reshape(40, -1), HELD_OUT[0].reshape(30, -1)
    goal = indiscriminate(held_out, HELD_OUT[1], LogisticLoss())
    attack = compose(Logistic(0.1), reach, goal, Data(flat, TRAIN.y))
    ascent = Ascent(over=6)
    long = maximize(attack, flat[:2], steps=6, optimizer=ascent)
    first = maximize(attack, flat[:2], steps=2, optimizer=ascent)
    eqx.tree_serialise_leaves(tmp_path / "run.eqx", first.state)
    state = eqx.tree_deserialise_leaves(tmp_path / "run.eqx", first.state)
    second = maximize(attack, flat[:2], steps=4, state=state, optimizer=ascent)
    np.testing.assert_allclose(second.z, long.z, rtol=1e-10)


@pytest.mark.slow
def test_an_attack_through_fine_pruning_is_the_same_composition():
    layer = Channels("conv", where=lambda layers: layers["kernel"])
    tuning = Tuning(Descent(optax.sgd(0.1), 5), batch=None)
    defended = FinePrune(Network(), Data(*images(2, 20)), layer, 2, tuning=tuning)
    fitted = defended.fit(TRAIN, key=KEY)
    kernel = fitted.model.parameters["kernel"]
    np.testing.assert_array_equal(jnp.any(kernel != 0, axis=(0, 1, 2)), fitted.report.kept)
    assert int(jnp.sum(fitted.report.kept)) == 4
    goal = shown(HELD_OUT[0][::2], jnp.ones(15, int), lambda y, f: -LogisticLoss()(y, f))
    plain, aware = (compose(learner, STAMP, goal, TRAIN, key=KEY)
                    for learner in (Network(), defended))  # fmt: skip
    z = STAMP.example(TRAIN)
    gradient = jax.grad(aware)(z)
    slope = difference(jax.jit(aware), z, MASK)
    np.testing.assert_allclose(jnp.sum(gradient * MASK), slope, rtol=1e-7)
    assert float(jnp.linalg.norm(gradient - jax.grad(plain)(z))) > 1e-3
    certificate = certify(aware, z)
    np.testing.assert_allclose(certificate.gradient, gradient, rtol=1e-10, atol=1e-13)
