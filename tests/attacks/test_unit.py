"""The output of one unit, as the goal of a trigger."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attacks import Stamp, World, compose
from attacks.goals import Unit
from attacks.triggers import Features
from bilevel import Data, maximize
from bilevel.learners import Fixed, LinearModel, Network
from bilevel.losses import CrossEntropy
from bilevel.networks import MLP
from bilevel.solvers import Descent

X = np.random.default_rng(0).normal(size=(12, 4))
TABLE = Data(X, np.arange(12) % 2)
NET = Network(MLP((5, 3), 2), solver=Descent(optax.sgd(0.1), 1))
REACH = Stamp(Features([1, 3], [0.1, 0.2]), np.arange(6), 1)


@pytest.fixture(scope="module")
def model():
    return NET.fit(TABLE, key=jax.random.key(0)).model


def test_a_pattern_climbs_the_output_of_a_unit_on_rows_with_it(model):
    attack = compose(Fixed(model, CrossEntropy()), REACH, Unit(TABLE.x, "dense1", 2), TABLE)
    z = REACH.example(TABLE)
    shown = X.copy()
    shown[:, [1, 3]] = [0.1, 0.2]
    outputs = model.activations(jnp.asarray(shown))["dense1"]
    np.testing.assert_allclose(attack(z), np.mean(outputs[:, 2]), rtol=1e-12)
    assert maximize(attack, z, steps=20).value > attack(z) + 0.1


@pytest.mark.parametrize(
    ("goal", "given", "sentence"),
    [
        (Unit(TABLE.x, "conv0", 0), None, r"layer: got 'conv0', expected one of \['dense0', "),
        (Unit(TABLE.x, "dense0", 5), None, "index: got 5, expected 0 to 4"),
        (Unit(TABLE.x, "dense0", -1), None, "index: got -1, expected 0 to 4"),
        (Unit(TABLE.x, "dense0", 0), LinearModel(jnp.ones(4), jnp.ones(())), "layer: got 'dense0'"),
    ],
)
def test_a_unit_that_is_not_there_is_a_sentence(goal, given, sentence, model):
    with pytest.raises(ValueError, match=sentence):
        goal.score(given or model, World(TABLE))
    with pytest.raises(ValueError, match="x: got rows of shape"):
        Unit(jnp.ones((2, 3)), "dense0", 0).check(TABLE)
