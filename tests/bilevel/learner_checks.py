"""What the tests of linear learners share: data, and the judgement of gradients and attacks."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from central import direction, slope, slope_ahead

from attacks import Box, Insert, compose, indiscriminate
from bilevel import Data, certify
from bilevel.losses import Logistic

SHAPES = {"tall": (18, 4), "wide": (9, 14)}


def rows(shape, seed=0):
    """(x, y = -1 or +1, weights), with one weight zero."""
    n, d = SHAPES[shape]
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 2, 1.0, -1.0)
    x = rng.normal(size=(n, d)) + 0.4 * y[:, None] + 1.0
    weight = rng.uniform(0.5, 2, size=n)
    weight[2] = 0
    return x, y, weight


def validation(shape):
    x, y, _ = rows(shape, seed=1)
    return x[:8], y[:8]


def without(data: Data, row):
    kept = np.arange(data.rows) != row
    return Data(*(np.asarray(a)[kept] for a in (data.x, data.y, data.weight)))


def assert_gradients(loss, at: dict, rtol=1e-8):
    """Gradient of `loss`, a function of a dictionary of arrays, against central differences."""
    both = eqx.filter_jit(eqx.filter_value_and_grad(loss))
    at = {k: jax.device_put(np.asarray(v)) for k, v in at.items()}  # no weak types: one program
    gradient = both(at)[1]
    for name, leaf in direction(at, seed=3).items():
        # Weights end at 0, labels at -1 and +1: differences are taken towards the inside there.
        here = np.asarray(at[name])
        ends = {"weight": here == 0, "y": np.abs(here) == 1}.get(name, False)
        inward = -np.sign(here) if name == "y" else 1.0
        leaf = np.where(ends, inward * np.abs(leaf), leaf)
        along = {k: leaf if k == name else np.zeros_like(v) for k, v in at.items()}
        differences = slope_ahead if np.any(ends) else slope
        expected = differences(lambda at: both(at)[0], at, along, step=5e-4)
        assert abs(expected) > 1e-5, name
        ours = float(np.sum(np.asarray(gradient[name]) * leaf))
        np.testing.assert_allclose(ours, expected, rtol=rtol, err_msg=name)


def validation_loss(learner, data, shape):
    x, y = (jnp.asarray(a) for a in validation(shape))
    f = learner.fit(data, throw=False).model.decision(x)
    return jnp.mean(jnp.logaddexp(0, -y * f))


def assert_attack(learner, shape, rtol=1e-8):
    """Two rows inserted: the gradient, and a certificate that is right and not idle."""
    x, y, weight = rows(shape)
    reach = Insert(np.array([1.0, -1.0]), Box(-5.0, 5.0))
    goal = indiscriminate(*validation(shape), loss=Logistic())
    attack = compose(learner, reach, goal, Data(x, y, weight))
    z = jnp.asarray(np.random.default_rng(5).normal(size=(2, x.shape[1])))
    certificate = certify(attack, z)
    along = direction(z, seed=6)
    both = eqx.filter_jit(jax.value_and_grad(lambda z: attack.evaluate(z)[0]))
    expected = slope(lambda z: both(z)[0], z, along, step=5e-4)
    assert abs(expected) > 1e-4
    np.testing.assert_allclose(np.sum(certificate.gradient * along), expected, rtol=rtol)
    gradient = np.asarray(both(z)[1])
    apart = np.linalg.norm(gradient - certificate.gradient)
    assert apart <= float(certificate.error_bound) < 1e-9 * np.linalg.norm(gradient)
    return certificate


def sentence(function) -> str:
    """What a ValueError says."""
    try:
        function()
    except ValueError as error:
        return str(error)
    raise AssertionError("no ValueError")
