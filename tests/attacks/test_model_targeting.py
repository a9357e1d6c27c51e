"""Rows that lead training to a chosen model: the rule, the bound, its promise."""

import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn

from attacks import approach_model
from bilevel import Data, append
from bilevel.learners import SVM, LinearModel, Logistic, NetworkModel, OnFeatures, Ridge
from bilevel.networks import MLP

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
TRAIN = Data(X, np.where(X[:, 0] + 0.5 * RNG.normal(size=40) > 0, 1.0, -1.0))
POINTS = RNG.uniform(-2, 2, size=(30, 3))
POOL = Data(np.concatenate([POINTS, POINTS]), np.repeat([1.0, -1.0], 30))
LEARNER = Logistic(0.05)


def reached(learner, rows):
    """The model of training with these pool rows: one that can be reached."""
    rows = jnp.asarray(rows)
    return learner.fit(append(TRAIN, POOL.x[rows], POOL.y[rows])).model


def loss(model, data):
    return np.log1p(np.exp(-np.asarray(data.y * model.decision(data.x))))


def test_rows_are_those_of_the_largest_gap_and_lead_to_the_model():
    chosen = np.argsort(POINTS[:, 0])[-4:] + 30  # far right and labelled left
    wanted = reached(LEARNER, np.repeat(chosen, 3))
    made = approach_model(TRAIN, wanted, LEARNER, POOL, 12)
    clean = LEARNER.fit(TRAIN).model
    assert isinstance(made.model, LinearModel)
    apart = loss(clean, POOL) - loss(wanted, POOL)
    assert int(made.rows[0]) == np.argmax(apart)
    np.testing.assert_allclose(made.gap[0], np.max(apart), rtol=1e-8)
    np.testing.assert_array_equal(made.x, POOL.x[made.rows])
    np.testing.assert_array_equal(made.y, POOL.y[made.rows])
    again = reached(LEARNER, made.rows)
    np.testing.assert_allclose(made.model.w, again.w, rtol=1e-8)
    distance = [float(jnp.linalg.norm(m.w - wanted.w)) for m in (clean, made.model)]
    assert distance[1] < 0.3 * distance[0]
    assert made.gap[-1] < 0.3 * made.gap[0]
    # a row is inserted with a weight of one, whatever it has in the pool
    heavy = approach_model(TRAIN, wanted, LEARNER, Data(POOL.x, POOL.y, np.full(60, 3.0)), 12)
    np.testing.assert_array_equal(heavy.rows, made.rows)
    np.testing.assert_array_equal(heavy.model.decision(TRAIN.x), made.model.decision(TRAIN.x))
    assert 0.5 * 12 < made.fewest <= 12


def test_the_bound_is_that_of_the_clean_model_where_it_is_the_best() -> None:
    """Far left and labelled left: rows that hardly change anything."""
    wanted = reached(LEARNER, np.repeat(np.argsort(-POINTS[:, 0])[-4:] + 30, 3))
    clean = LEARNER.fit(TRAIN).model
    cost = 0.025 * float(wanted.w @ wanted.w - clean.w @ clean.w)
    worse = np.sum(loss(wanted, TRAIN) - loss(clean, TRAIN)) + 40 * cost
    expected = worse / (np.max(loss(clean, POOL) - loss(wanted, POOL)) - cost)
    made = approach_model(TRAIN, wanted, LEARNER, POOL, 12)
    np.testing.assert_allclose(made.fewest, expected, rtol=1e-5)


def test_the_bound_is_the_best_of_the_models_on_the_way() -> None:
    """By its formula, of a wanted model with larger and one with smaller weights, and of rows that
    count more or less.
    """
    learner = Logistic(0.3)
    uneven = np.random.default_rng(5).uniform(0.2, 2, 40)
    for size, weight in ((0.2, np.ones(40)), (3.0, np.ones(40)), (0.2, uneven)):
        train = Data(TRAIN.x, TRAIN.y, weight)
        clean = learner.fit(train).model
        wanted = LinearModel(jnp.asarray([-0.3, 0.5, 0.4]) * size, clean.bias)
        made = approach_model(train, wanted, learner, POOL, 1)
        bounds = []
        for model in (clean, made.model):
            assert isinstance(model, LinearModel)
            cost = 0.15 * float(wanted.w @ wanted.w - model.w @ model.w)
            assert abs(cost) > 0.005
            worse = weight @ (loss(wanted, TRAIN) - loss(model, TRAIN) + cost)
            bounds.append(worse / (np.max(loss(model, POOL) - loss(wanted, POOL)) - cost))
        np.testing.assert_allclose(made.fewest, max(bounds), rtol=1e-8)


@pytest.mark.parametrize("learner", [LEARNER, Ridge(0.05, l2_bias=0.1)])
def test_no_model_that_some_rows_reach_is_said_to_need_more(learner):
    rng = np.random.default_rng(1)
    tight = 0.0
    for number in (1, 12):
        for same in (True, False):
            rows = np.repeat(rng.choice(60), number) if same else rng.choice(60, number)
            wanted = reached(learner, rows)
            made = approach_model(TRAIN, wanted, learner, POOL, 12)
            assert made.fewest <= number + 1e-6
            tight = max(tight, float(made.fewest) / number)
    assert tight > 0.4


def test_models_out_of_reach_need_infinitely_many_rows_and_the_clean_one_none():
    clean = LEARNER.fit(TRAIN).model
    assert approach_model(TRAIN, clean, LEARNER, POOL, 12).fewest == 0
    # nor if the rows lead away from it, to a model that is better on all that may be inserted
    away = Data(POOL.x, POOL.y, jnp.zeros(60).at[np.argmax(loss(clean, POOL))].set(1))
    made = approach_model(TRAIN, clean, LEARNER, away, 12)
    assert made.gap[0] == 0 > made.gap[-1]
    assert made.fewest == 0
    little = Data(POOL.x, POOL.y, jnp.zeros(60).at[0].set(1))  # one row, which fits the clean model
    far = LEARNER.fit(Data(TRAIN.x, -TRAIN.y)).model
    made = approach_model(TRAIN, far, LEARNER, little, 12)
    np.testing.assert_array_equal(made.rows, 0)
    assert made.fewest > 100


def test_rounding_of_single_precision_does_not_raise_the_bound():
    """Of the clean model, which needs no rows."""
    learner = Ridge(0.05)
    for seed in (2, 3):
        rng = np.random.default_rng(seed)
        x, noise, points = (
            rng.normal(size=size).astype("float32") for size in ((400, 3), 400, (30, 3))
        )
        train, pool = Data(x, np.sign(x[:, 0] + noise)), Data(points, np.sign(points[:, 0]))
        wanted = learner.fit(train).model
        assert wanted.decision(train.x).dtype == jnp.float32
        assert approach_model(train, wanted, learner, pool, 12).fewest == 0


def test_a_head_on_features_is_led_as_a_table_of_them_is():
    net = MLP((3,), 2)  # as many features as columns: one program serves both tables
    model = NetworkModel(drawn(net, (3,), "float32"), net)
    head = OnFeatures(model, LEARNER)
    train, pool = (Data(data.x.astype("float32"), data.y) for data in (TRAIN, POOL))
    wanted = head.fit(append(train, pool.x[30:33], pool.y[30:33])).model
    made = approach_model(train, wanted, head, pool, 12)
    seen = [Data(model.features(data.x).astype(float), data.y) for data in (train, pool)]
    table = approach_model(seen[0], wanted.head, LEARNER, seen[1], 12)
    np.testing.assert_array_equal(made.rows, table.rows)
    np.testing.assert_allclose(made.fewest, table.fewest, rtol=1e-6)


@pytest.mark.parametrize(
    ("learner", "count", "sentence"),
    [
        (SVM(1.0), 3, r"^learner: got a SVM and a LinearModel, expected one of Ridge, Huber,"),
        (LEARNER, 0, r"^count: got 0, expected a whole number"),
    ],
)
def test_impossible_calls_are_a_sentence(learner, count, sentence):
    with pytest.raises(ValueError, match=sentence):
        approach_model(TRAIN, LEARNER.fit(TRAIN).model, learner, POOL, count)


def test_a_model_of_another_kind_is_a_sentence():
    wanted = NetworkModel({"a": jnp.ones(2), "b": jnp.ones(2), "c": jnp.ones(2)}, MLP((3,), 2))
    with pytest.raises(ValueError, match=r"^learner: got a Logistic and a NetworkModel"):
        approach_model(TRAIN, wanted, LEARNER, POOL, 1)
