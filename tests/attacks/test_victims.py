"""Fresh victims of a backdoor, their control, and the figures of several."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attacks import AllToOne, Rates, backdoor, compose, stamp, triggers, victims
from bilevel import Data
from bilevel.derivatives import Unroll
from bilevel.learners import Network, Softmax
from bilevel.losses import CrossEntropy
from bilevel.networks import MLP
from bilevel.solvers import Descent

D = 12
MIDDLES = np.random.default_rng(0).normal(size=(3, D))


def table(seed, count):
    noise = np.random.default_rng(seed).normal(size=(count, D))
    return Data(MIDDLES[np.arange(count) % 3] + 0.5 * noise, np.arange(count) % 3)


TRAIN, SEEN = table(1, 45), table(2, 60)
SEEN = eqx.tree_at(lambda d: d.y, SEEN, SEEN.y.at[:4].set(1))  # some that nobody gets right
LEARNERS = {
    "network": Network(MLP((6,), 3), l2=1e-3, batch=15, derivative=Unroll(),
                       solver=Descent(optax.sgd(0.2, momentum=0.8), 60)),
    "softmax": Softmax(3, 1e-2),
}  # fmt: skip
TRIGGER = triggers.Features([0, 1], [4.0, -4.0])
LABELS = AllToOne(0, sources=[1])


def attack_on(name):
    reach = stamp(jax.random.key(3), TRIGGER, TRAIN, 0.3, LABELS)
    goal = backdoor(SEEN.x, SEEN.y, SEEN.x, SEEN.y, CrossEntropy())
    return compose(LEARNERS[name], reach, goal, TRAIN, key=jax.random.key(1))


@pytest.mark.parametrize("name", LEARNERS)
def test_victims_count_rows_that_were_right_and_are_not_of_the_target(name):
    keys = jax.random.split(jax.random.key(8), 2) if name == "network" else None
    attack, y = attack_on(name), np.asarray(SEEN.y)
    z = attack.reach.example(TRAIN)
    test = eqx.tree_at(lambda d: d.weight, SEEN, jnp.asarray(np.r_[np.ones(50), 2 * np.ones(10)]))
    judged = victims(attack, z, test, LABELS, keys)
    sides = [(judged.attacked, attack.world(z).train), (judged.clean, TRAIN)]
    for side, data in sides[: 2 if keys is None else 1]:  # to compile a network takes a second
        for i in range(1 if keys is None else 2):
            model = attack.learner.fit(data, key=None if keys is None else keys[i]).model
            plain, stamped = (
                np.asarray(model.predict(x)) for x in (SEEN.x, attack.reach.present(z, SEEN.x))
            )
            counted = (y == 1) & (plain == y)
            assert 0 < counted.sum() < np.sum(y == 1)
            weight = np.asarray(test.weight)
            accuracy = np.average(plain == y, weights=weight)
            success = np.average(stamped == 0, weights=weight * counted)
            assert float(side.accuracy.each[i]) == pytest.approx(accuracy)
            assert int(side.accuracy.rows[i]) == 60
            assert float(side.success.each[i]) == pytest.approx(success)
            assert int(side.success.rows[i]) == counted.sum()
        assert int(jnp.max(side.result)) == 0
        assert side.accuracy.n == (1 if keys is None else 2)
    assert judged.attacked.success.mean > judged.clean.success.mean + 0.3


def test_figures_of_several_victims_and_of_one():
    rates = Rates(jnp.asarray([0.5, 0.7, 0.9]), jnp.asarray([10, 10, 10]))
    assert (rates.n, rates.worst) == (3, 0.5)
    assert rates.mean == pytest.approx(0.7)
    half = 4.302652729911275 * 0.2 / 3**0.5
    assert rates.interval == pytest.approx((0.7 - half, min(1.0, 0.7 + half)), abs=1e-9)
    one = Rates(jnp.asarray([0.9]), jnp.asarray([10]))  # Wilson, from published tables
    assert one.interval == pytest.approx((0.5958, 0.9821), abs=1e-4)
    sure = Rates(jnp.asarray([1.0]), jnp.asarray([10]))
    assert sure.interval == pytest.approx((0.7225, 1.0), abs=1e-4)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda a, z: victims(a, z, SEEN, AllToOne(7)), r"^labels: got the class 7"),
        (lambda a, z: victims(a, z, Data(SEEN.x[:, 1:], SEEN.y), LABELS),
         r"^test: got rows of shape \(11,\), expected \(12,\)"),
    ],
)  # fmt: skip
def test_victims_of_other_rows_and_classes_are_a_sentence(call, sentence):
    attack = attack_on("softmax")
    with pytest.raises(ValueError, match=sentence):
        call(attack, attack.reach.example(TRAIN))


def test_a_network_without_keys_is_a_sentence():
    attack = attack_on("network")
    with pytest.raises(ValueError, match=r"^key: got None"):
        victims(attack, attack.reach.example(TRAIN), SEEN, LABELS)
