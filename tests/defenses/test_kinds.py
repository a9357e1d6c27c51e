"""Repairs, purifiers and audits: what their contracts give to one of a few lines."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attacks import Box, Insert, compose, indiscriminate
from bilevel import Data, SolveError, certify
from bilevel.learners import AbstractLearner, LinearModel, Logistic, OnFeatures, Trained
from bilevel.results import CONVERGED, MAX_STEPS
from defenses import (
    AbstractAudit,
    AbstractPurifier,
    AbstractRepair,
    Partition,
    PurifiedModel,
    Trim,
    Verdict,
)

N, D = 30, 3
RNG = np.random.default_rng(0)
Y = np.where(np.arange(N) % 2, 1.0, -1.0)
X = RNG.normal(size=(N, D)) + Y[:, None]
DATA = Data(X, Y)
AT = jnp.asarray(RNG.normal(size=(8, D)))
LEARNER = Logistic(0.05)


class Shrink(AbstractRepair):
    """Weights no longer than `length`."""

    learner: AbstractLearner
    length: float
    result: int = CONVERGED

    def repair(self, model, data, *, key=None):
        assert isinstance(model, LinearModel)
        size = jnp.linalg.norm(model.w)
        w = model.w * jnp.minimum(1, self.length / size)
        return Trained(LinearModel(w, model.bias), jnp.int32(self.result), size)


class Squeeze(AbstractPurifier):
    """Values pressed into [-bound, bound], with noise if there is a key."""

    learner: AbstractLearner
    bound: float

    def purify(self, model, x, *, key=None):
        noise = 0 if key is None else 0.1 * jax.random.normal(key, x.shape, x.dtype)
        return self.bound * jnp.tanh(x / self.bound) + noise


class Steep(AbstractAudit):
    """Suspects steep models."""

    most: float

    def examine(self, model, clean, *, key=None):
        slopes = jax.vmap(jax.grad(lambda x: model.decision(x[None])[0]))(clean.x)
        score = jnp.max(jnp.linalg.norm(slopes, axis=1))
        return Verdict(score > self.most, score, slopes)


def test_a_repair_is_part_of_the_training():
    plain = LEARNER.fit(DATA).model
    assert isinstance(plain, LinearModel)
    fitted = Shrink(LEARNER, 0.5).fit(DATA)
    assert isinstance(fitted.model, LinearModel)
    np.testing.assert_allclose(jnp.linalg.norm(fitted.model.w), 0.5, rtol=1e-9)
    np.testing.assert_allclose(fitted.report, jnp.linalg.norm(plain.w), rtol=1e-9)
    np.testing.assert_allclose(fitted.model.bias, plain.bias, rtol=1e-9)


def test_a_repair_that_fails_is_a_failure():
    failing = Shrink(LEARNER, 0.5, MAX_STEPS)
    assert int(failing.fit(DATA, throw=False).result) == MAX_STEPS
    with pytest.raises(SolveError):
        failing.fit(DATA)
    attack = attacked(failing)
    told = jax.jit(lambda z: attack.evaluate(z)[1][1].result)
    assert int(told(np.ones((2, D)))) == MAX_STEPS
    head = OnFeatures(LinearModel(jnp.zeros(D), jnp.zeros(())), failing)  # its features are rows
    size = failing.fit(DATA, throw=False).report
    for around in (Shrink(failing, 0.4), Squeeze(failing, 0.7), head):
        fitted = around.fit(DATA, throw=False)
        assert int(fitted.result) == MAX_STEPS
        np.testing.assert_allclose(fitted.report, 0.5 if isinstance(around, Shrink) else size)
    assert int(Partition(failing, 2).fit(DATA, throw=False).result) == MAX_STEPS


def test_a_model_sees_purified_rows():
    purifier = Squeeze(LEARNER, 0.7)
    model, plain = purifier.fit(DATA).model, LEARNER.fit(DATA).model
    assert isinstance(model, PurifiedModel)
    squeezed = 0.7 * jnp.tanh(AT / 0.7)
    np.testing.assert_allclose(model.decision(AT), plain.decision(squeezed), rtol=1e-9)
    np.testing.assert_allclose(model.features(AT), squeezed, rtol=1e-12)
    np.testing.assert_array_equal(model.predict(AT), plain.predict(squeezed))
    one, same, other = (model.decision(AT, key=jax.random.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert np.all(one != other)


def attacked(defense):
    reach, goal = Insert(np.array([1.0, -1.0]), Box(-3.0, 3.0)), indiscriminate(AT, Y[:8])
    return compose(defense, reach, goal, DATA)


@pytest.mark.parametrize(
    "defense",
    [Shrink(LEARNER, 0.5), Squeeze(LEARNER, 0.7), Squeeze(Shrink(Trim(LEARNER, 0.1), 0.5), 0.7)],
    ids=["repair", "purifier", "all"],
)
def test_attacks_on_them_are_aware_and_certified(defense):
    attack, z = attacked(defense), jnp.asarray(RNG.normal(size=(2, D)))
    certificate = certify(attack, z)
    both = jax.value_and_grad(attack)
    along, h = np.ones((2, D)) / 6**0.5, 3e-4
    near, far = (float(both(z + k * h * along)[0] - both(z - k * h * along)[0]) for k in (1, 2))
    np.testing.assert_allclose(
        np.sum(certificate.gradient * along), (8 * near - far) / (12 * h), rtol=1e-8
    )
    error = np.linalg.norm(both(z)[1] - certificate.gradient)
    assert error <= 2 * float(certificate.error_bound) < 1e-9  # both have an error


def test_an_audit_examines_a_model():
    model = LinearModel(jnp.array([3.0, 4.0, 0.0]), jnp.array(0.0))
    verdict = Steep(4.0).examine(model, DATA)
    np.testing.assert_allclose(verdict.score, 5)
    assert bool(verdict.flagged)
    assert not bool(Steep(6.0).examine(model, DATA).flagged)
    assert verdict.evidence.shape == (N, D)


def test_a_key_reaches_what_is_defended():
    """The learner trains with the key that it would have undefended."""

    class Drawn(AbstractLearner):
        learner: Logistic
        solver = property(lambda self: self.learner.solver)
        derivative = property(lambda self: self.learner.derivative)
        loss = property(lambda self: self.learner.loss)

        def training(self, data, *, key=None):
            assert key is not None
            noise = jax.random.normal(key, data.x.shape, data.x.dtype)
            return self.learner.training(Data(data.x + noise, data.y, data.weight))

    key = jax.random.key(3)
    plain = Drawn(LEARNER).fit(DATA, key=key).model.decision(AT)
    for defense in (Trim(Drawn(LEARNER), 0.0), Shrink(Drawn(LEARNER), 99.0)):
        np.testing.assert_allclose(defense.fit(DATA, key=key).model.decision(AT), plain, rtol=1e-9)


def test_repairs_and_purifiers_draw_from_another_key_than_what_they_guard():
    class Keyed(Shrink):
        def repair(self, model, data, *, key=None):
            assert key is not None
            return Trained(model, CONVERGED, jax.random.key_data(key))

    key = jax.random.key(3)
    report = Keyed(LEARNER, 1.0).fit(DATA, key=key).report
    assert not np.array_equal(report, jax.random.key_data(key))
    purifier = Squeeze(LEARNER, 0.7)
    model = PurifiedModel(LinearModel(jnp.ones(D), jnp.zeros(())), purifier)
    same = purifier.purify(model.model, AT, key=key)
    assert np.all(model.purified(AT, key) != same)
