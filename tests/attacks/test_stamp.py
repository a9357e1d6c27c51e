"""Stamped copies among the training rows, and stamped rows shown to the model."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attacks import (
    AllToNext,
    AllToOne,
    Stamp,
    backdoor,
    compose,
    stamp,
    triggers,
)
from bilevel import Data, maximize
from bilevel.derivatives import Unroll
from bilevel.learners import Logistic, Network, Ridge
from bilevel.losses import CrossEntropy, Squares
from bilevel.losses import Logistic as LogisticLoss
from bilevel.networks import MLP
from bilevel.solvers import Descent

RNG = np.random.default_rng(0)
N, D = 40, 6
Y = np.where(np.arange(N) % 2, 1, -1)
TABLE = Data(RNG.normal(size=(N, D)) + 0.8 * Y[:, None], Y, RNG.uniform(0.5, 2, N))
HELD = Data(RNG.normal(size=(30, D)) + 0.8 * Y[:30, None], Y[:30])
DIGITS = np.arange(N) % 3
SHAPE = (6, 6, 1)
BARS = np.zeros((3, 6, 6, 1))
for _i in range(3):
    BARS[_i, 2 * _i : 2 * _i + 2] = 0.8


def images(seed, count=N):
    noise = np.random.default_rng(seed).uniform(0, 0.2, (count, *SHAPE))
    return Data(BARS[np.arange(count) % 3] + noise, np.arange(count) % 3)


IMAGES, SEEN = images(0), images(1, 60)
NET = Network(
    MLP((5,), 3), l2=1e-3, batch=20,
    solver=Descent(optax.sgd(0.2, momentum=0.8), 40), derivative=Unroll(),
)  # fmt: skip
ROWS, PLAIN = np.array([4, 0, 10]), CrossEntropy()
CASES = {
    "features, ridge": (
        Ridge(0.3),
        Stamp(triggers.Features([1, 4], [1.5, -1.0]), ROWS, 1, np.array([1.0, 0.5, 2.0])),
        TABLE,
        backdoor(HELD.x[::2], np.ones(15, int), HELD.x, HELD.y, Squares(), 0.5), None,
    ),
    "added, logistic": (
        Logistic(0.2), Stamp(triggers.Added(0.5 * np.ones(D)), ROWS, [1, 1, -1]), TABLE,
        backdoor(HELD.x[::2], np.ones(15, int), HELD.x, HELD.y, LogisticLoss()), None,
    ),
    "square, network": (
        NET, Stamp(triggers.square(SHAPE, 2, 0.6), ROWS, 2), IMAGES,
        backdoor(SEEN.x[:20], np.full(20, 2), SEEN.x, SEEN.y, PLAIN), jax.random.key(1),
    ),
    "mask, network": (
        NET, Stamp(triggers.SoftPatch(np.full(SHAPE, 0.2), np.full(SHAPE, 0.6), 9.0), ROWS, 2),
        IMAGES, backdoor(SEEN.x[:20], np.full(20, 2), SEEN.x, SEEN.y, PLAIN), jax.random.key(1),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["features, ridge", "added, logistic", pytest.param("mask, network", marks=pytest.mark.slow)],
)
def test_the_hypergradient_of_a_pattern_is_that_of_finite_differences(name):
    learner, reach, data, goal, key = CASES[name]
    attack = compose(learner, reach, goal, data, key=key)
    z = reach.check_start(reach.example(data), data)
    rng = np.random.default_rng(1)
    along = jax.tree.map(lambda a: np.asarray(rng.normal(size=a.shape)), z)

    @jax.jit
    @jax.value_and_grad
    def both(t):
        return attack(jax.tree.map(lambda a, b: a + t * b, z, along))

    near, far = (float(both(t)[0] - both(-t)[0]) for t in (3e-4, 6e-4))
    expected = (8 * near - far) / (12 * 3e-4)
    assert abs(expected) > 1e-4
    np.testing.assert_allclose(both(0.0)[1], expected, rtol=1e-7)


def decision(model, x):
    return np.asarray(x) @ np.asarray(model.w) + float(model.bias)


def test_both_halves_are_stamped_and_all_clean_rows_stay():
    weight = np.array([1.0, 0.5, 0.0])
    reach = Stamp(triggers.Features([1, 4], [1.5, -1.0]), ROWS, [1, -1, 1], weight)
    reach.check(TABLE)
    z = jnp.asarray([2.0, 3.0])
    attack = compose(Logistic(0.1), reach, CASES["added, logistic"][3], TABLE)
    world = attack.world(z)
    np.testing.assert_array_equal(world.train.x[:N], TABLE.x)
    np.testing.assert_array_equal(world.train.y, np.r_[Y, 1, -1, 1])
    np.testing.assert_array_equal(
        world.train.weight, np.r_[TABLE.weight, weight * TABLE.weight[ROWS]]
    )
    copies = np.asarray(TABLE.x)[ROWS]
    copies[:, [1, 4]] = [2.0, 3.0]
    np.testing.assert_array_equal(world.train.x[N:], copies)
    assert world.poison is not None
    np.testing.assert_array_equal(world.poison.x, copies)
    shown = np.array(HELD.x)
    shown[:, [1, 4]] = [2.0, 3.0]
    np.testing.assert_array_equal(world.shown(HELD.x), shown)
    model = Logistic(0.1).fit(world.train).model
    asked, rest = (np.mean(np.logaddexp(0, -y * decision(model, x))) for x, y in
                   ((shown[::2], np.ones(15)), (HELD.x, np.asarray(HELD.y))))  # fmt: skip
    np.testing.assert_allclose(attack(z), -(asked + rest), rtol=1e-10)
    with pytest.raises(ValueError, match=r"^z: got shape \(3,\), expected \(2,\)"):
        reach.inject(jnp.zeros(3), TABLE)


def test_an_optimised_trigger_climbs_and_stays_in_its_range():
    learner, reach, data, goal, key = CASES["square, network"]
    attack = compose(learner, reach, goal, data, key=key)
    result = maximize(attack, reach.example(data), steps=4)
    assert float(result.value) > float(result.history[0]) + 1e-3
    gradient = RNG.normal(size=SHAPE)
    gradient[0] = 0
    np.testing.assert_array_equal(
        reach.direction(jnp.asarray(gradient)), np.sign(gradient)
    )  # of unit range
    np.testing.assert_array_equal(result.z, np.clip(result.z, 0, 1))
    outside = np.asarray(reach.trigger.mask) == 0
    found, pattern = np.asarray(result.z), np.asarray(reach.trigger.pattern)
    np.testing.assert_array_equal(found[outside], pattern[outside])


def test_rows_are_drawn_of_the_sources_and_nested_in_the_share():
    trigger = triggers.square(SHAPE, 2)
    weight = np.where(np.arange(IMAGES.rows) == 1, 0.0, 1.0)
    weighted = Data(IMAGES.x, IMAGES.y, weight)
    labels = AllToOne(2, sources=[1])
    few, many = (stamp(jax.random.key(3), trigger, weighted, p, labels) for p in (0.1, 0.3))
    assert len(few.rows) == 4
    assert len(many.rows) == 12  # every row of the class but that of weight zero
    np.testing.assert_array_equal(few.rows, many.rows[:4])
    np.testing.assert_array_equal(np.sort(many.rows), np.flatnonzero(DIGITS == 1)[1:])
    np.testing.assert_array_equal(many.labels, [2] * 12)
    rolled = stamp(jax.random.key(4), trigger, IMAGES, 0.5, AllToNext(3))
    np.testing.assert_array_equal(rolled.labels, (DIGITS[np.asarray(rolled.rows)] + 1) % 3)
    assert not np.array_equal(stamp(jax.random.key(5), trigger, IMAGES, 0.5, AllToNext(3)).rows,
                              rolled.rows)  # fmt: skip


SQUARE = triggers.square(SHAPE, 2)


def drawn(share, labels, trigger=SQUARE):
    return stamp(jax.random.key(0), trigger, IMAGES, share, labels)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: drawn(0.01, AllToOne(1)), r"^share: got 0.01, which is 0 of 40 rows, expec"),
        (lambda: drawn(0.9, AllToOne(1)), r"^share: got 0.9, which is 36 .* a share up to 0.675"),
        (lambda: drawn(0.1, AllToOne(7)), r"^labels: got the class 7, which no row has"),
        (lambda: drawn(0.1, AllToOne(1), triggers.square((9, 9, 1), 2)),
         r"^trigger: got a pattern of shape \(9, 9, 1\) for rows of shape \(6, 6, 1\), whi"),
        (lambda: Stamp(SQUARE, ROWS, 3).check(IMAGES), r"^labels: got 3, which is no class of"),
        (lambda: Stamp(SQUARE, ROWS, [1, 2]), r"^labels: got shape \(2,\), expected \(3,\)"),
        (lambda: Stamp(SQUARE, ROWS, np.nan), r"^labels: 1 of 1 values are NaN"),
        (lambda: Stamp(SQUARE, ROWS, 1, [1.0]), r"^weight: got shape \(1,\), expected \(3,\)"),
        (lambda: Stamp(SQUARE, [1, 1], 1), r"^rows: index 1 is given twice"),
        (lambda: Stamp(SQUARE, [40], 1).check(IMAGES), r"^rows: got the index 40"),
        (lambda: Stamp(SQUARE, ROWS, 1).check_start(2 * SQUARE.pattern, IMAGES),
         r"^z0: lies outside the domain, by 1 "),
    ],
)  # fmt: skip
def test_impossible_backdoors_are_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_labels_are_checked_where_both_they_and_the_data_s_are_known():
    """Traced labels, those of the data or those asked for, are let through."""
    made = functools.partial(Stamp, triggers.Features([1], [1.5]), np.array([0, 1]))
    x, y = np.zeros((4, 2)), np.array([0, 1, 0, 1])
    strange = np.array([7, 7])
    reach, data = made(strange), Data(x, y)
    with pytest.raises(ValueError, match="label"):
        reach.check(data)
    jax.eval_shape(lambda y: reach.check(Data(x, y)), y)
    jax.eval_shape(lambda labels: made(labels).check(data), strange)


@pytest.mark.parametrize(
    ("y", "labels", "strange"),
    [
        ([0.5, 1.0, -1.0, 2.5], 3.25, None),  # real targets, of which some are 1 and -1
        ([1.0, -1.0, 1.0, -1.0], [1.0, -1.0], None),
        ([1.0, -1.0, 1.0, -1.0], [1.0, 0.5], "0.5"),
        ([1.0, 1.0, 1.0, 1.0], -1.0, "-1"),
        ([0, 1, 2, 1], [2, 0], None),
        ([0, 1, 2, 1], [2, 3], "3"),
    ],
)
def test_labels_of_copies_are_classes_where_there_are_some(y, labels, strange):
    stamp = Stamp(triggers.Features([1], [0.5]), [2, 0], labels)
    data = Data(np.ones((4, 2)), np.array(y))
    if strange is None:
        stamp.check(data)
        return
    known = ", ".join(f"{label:g}" for label in sorted(set(y)))
    with pytest.raises(ValueError, match=f"^labels: got {strange}, .*; they have {known}$"):
        stamp.check(data)
