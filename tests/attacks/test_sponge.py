"""Units that answer, as a goal of inputs and as a term of a training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attacks import Box, Evade, Insert, Sponge, World, compose
from attacks.goals import Energy, answering
from bilevel import Data, maximize
from bilevel.derivatives import Unroll
from bilevel.learners import Fixed, LinearModel, Network
from bilevel.losses import CrossEntropy
from bilevel.networks import MLP, Functions, Outputs
from bilevel.solvers import Descent

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 4)), np.arange(30) % 2
TABLE = Data(X, Y)
KEY = jax.random.key(1)
SIGMA = 0.1


def assert_derivative(attack, z):
    """Along a random direction, against central differences of fourth order."""
    along = np.random.default_rng(1).normal(size=z.shape)
    both = jax.jit(jax.value_and_grad(lambda t: attack(z + t * along)))
    near, far = (float(both(t)[0] - both(-t)[0]) for t in (3e-4, 6e-4))
    expected = (8 * near - far) / (12 * 3e-4)
    assert abs(expected) > 1e-4
    np.testing.assert_allclose(both(0.0)[1], expected, rtol=1e-7)


def network(activity, batch: int | None = 10, steps=12, activation=jnp.tanh):
    return Network(
        MLP((6, 5), 2, activation), batch=batch, l2=0.01,
        solver=Descent(optax.sgd(0.3, momentum=0.5), steps), derivative=Unroll(2),
        activity=activity,
    )  # fmt: skip


def by_hand(layers, sigma):
    return np.mean([np.mean(a**2 / (a**2 + sigma), axis=1) for a in layers], axis=0)


def test_layers_count_alike_whatever_their_width():
    layers = [RNG.normal(size=(3, 2, 2)), RNG.normal(size=(3, 50))]
    seen = answering({str(i): jnp.asarray(a) for i, a in enumerate(layers)}, SIGMA)
    flat = [a.reshape(3, -1) for a in layers]
    np.testing.assert_allclose(seen, by_hand(flat, SIGMA), rtol=1e-12)


def test_inputs_climb_the_energy_of_a_fixed_network():
    model = network(None).fit(TABLE, key=KEY).model
    attack = compose(Fixed(model), Evade(TABLE.x, Box(-2.0, 2.0)), Energy(TABLE.x, SIGMA), TABLE)
    start = jnp.clip(TABLE.x, -2, 2)
    layers = [np.asarray(a) for a in model.activations(start).values()]
    np.testing.assert_allclose(attack(start), np.mean(by_hand(layers, SIGMA)), rtol=1e-12)
    assert_derivative(attack, 0.5 * start)
    result = maximize(attack, start, steps=30)
    assert result.value > attack(start) + 0.05
    assert jnp.max(jnp.abs(result.z)) <= 2


def test_a_sponge_is_trained_with_its_term():
    """All rows of all steps: one step of descent by hand."""
    strength, share = 0.7, 1.0
    net = network(Sponge(strength, share, SIGMA), batch=None, steps=1)
    one = net.fit(TABLE, key=KEY).model.parameters
    zero = network(None, batch=None, steps=1)
    start = zero.training(TABLE, key=KEY).problem.start

    def objective(parameters):
        outputs = net.architecture.apply(parameters, TABLE.x)
        squares = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(parameters))
        energy = jnp.mean(answering(outputs.activations, SIGMA))
        loss = jnp.mean(CrossEntropy()(TABLE.y, outputs.logits))
        return loss + 0.005 * squares - strength * energy

    slope = jax.jit(jax.grad(objective))(start)
    expected = jax.tree.map(lambda w, g: w - 0.3 * g, start, slope)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_a_share_of_the_rows_is_drawn_anew_for_each_step():
    outputs = Outputs(jnp.zeros(4000), {"a": jnp.ones((4000, 3))})
    full = answering(outputs.activations, SIGMA)[0]
    drawn = [float(Sponge(2.0, 0.1, SIGMA)(jax.random.key(i), outputs)) for i in range(2)]
    assert drawn[0] != drawn[1]
    np.testing.assert_allclose(drawn, [-2.0 * 0.1 * full] * 2, rtol=0.2)


@pytest.mark.slow
def test_more_units_answer_after_a_sponge_and_poison_sees_through_it():
    sponged, plain = (
        network(activity, steps=100).fit(TABLE, key=KEY).model
        for activity in (Sponge(2.0, 0.5, SIGMA), None)
    )
    rows = TABLE.x
    shares = [float(jnp.mean(answering(m.activations(rows), SIGMA))) for m in (sponged, plain)]
    assert shares[0] > shares[1] + 0.1
    reach = Insert(np.array([0, 1]), Box(-3.0, 3.0))
    learner = network(Sponge(0.5, 0.5, SIGMA))
    attack = compose(learner, reach, Energy(rows, SIGMA), TABLE, key=KEY)
    assert_derivative(attack, jnp.asarray(X[:2]))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: Sponge(share=0.0), "share: got 0.0"),
        (lambda: Sponge(share=1.5), "share: got 1.5"),
        (lambda: Sponge(sigma=0.0), "sigma: got 0"),
        (lambda: Energy(TABLE.x, -1.0), "sigma: got -1"),
        (lambda: Energy(jnp.ones((2, 3))).check(TABLE), "x: got rows of shape"),
        (
            lambda: Energy(TABLE.x).score(LinearModel(jnp.ones(4), jnp.ones(())), World(TABLE)),
            "Energy got a LinearModel",
        ),
        (
            lambda: Network(
                Functions(lambda key: jnp.ones((4, 2)), lambda w, x: x @ w), activity=Sponge()
            ).fit(TABLE, key=KEY),
            "activity: the network reports no activations",
        ),
    ],
)
def test_what_makes_no_sense_is_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
