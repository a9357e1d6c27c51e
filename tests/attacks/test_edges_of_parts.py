"""Edges of the parts of attacks: shapes that broadcast, keys, traced arguments, ties."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from attacks import Box, Columns, Evade, Insert, Stamp, World, compose, indiscriminate
from attacks._frame_kinds import Real
from attacks.capabilities import AbstractCapability, WithTrigger
from attacks.domains import L2Ball, LinfBall, watermarked
from attacks.domains._crossing import crossing
from attacks.fairness import ParityDifference, report
from attacks.fairness._groups import groups_of
from attacks.frames import encode
from attacks.goals import Collide, Colliding, Energy, Frogs, Unit, disparity, shown
from attacks.recipes import anchor_popular, collide_features, corrupted
from attacks.recipes.pruning_aware import hide_from_pruning
from attacks.triggers import Features
from attacks.victims import _rate
from bilevel import Data
from bilevel.learners import (
    SVM,
    AbstractDeepModel,
    LinearModel,
    Network,
    NetworkModel,
    Ridge,
)
from bilevel.networks import MLP

X = np.arange(8.0).reshape(4, 2) / 8
Y = np.array([1.0, -1.0, 1.0, -1.0])
DATA, UNIT = Data(X, Y), Box(0.0, 1.0)
KEY = jax.random.key(0)
ONE = Features([0], [0.5])
MODEL = LinearModel(jnp.array([1.0, -2.0]), jnp.zeros(()))
IMAGES = np.ones((2, 3, 3, 1))
FRAME: Any = pd.DataFrame({"a": [0, 5, 10], "b": [1.0, 0.5, 0.0], "y": [0.0, 0.5, 1.0]})
CODED = encode(FRAME, "y")


class Noisy(AbstractCapability):
    """Rows are shown with noise of the key."""

    def shapes(self, data):
        return jax.ShapeDtypeStruct(data.x.shape, data.x.dtype)

    def project(self, z):
        return z

    def present(self, z, x, *, key=None):
        assert key is not None
        return x + jax.random.normal(key, x.shape)


class Deep(AbstractDeepModel):
    """The layers are multiples of the rows."""

    parameters: Any
    names: tuple[str, ...] = ("a", "b")

    def decision(self, x, *, key=None):
        return self.parameters * x[:, 0]

    def predict(self, x):
        return jnp.sign(self.decision(x))

    def activations(self, x, *, key=None):
        return {name: (i + 1) * self.parameters * x for i, name in enumerate(self.names)}


DEEP, BARE = Deep(jnp.asarray(3.0)), Deep(jnp.asarray(3.0), ())


def score(layers, model):
    return Collide(jnp.ones((1, 2)), Frogs(), layers).score(model, World(DATA, DATA))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Insert([1.0, 1.0], UNIT, [[1.0], [1.0]]), r"^weight: got shape \(2, 1\), exp"),
        (lambda: Insert([1.0, 1.0], UNIT, 1.0), r"^weight: got shape \(\), expected \(2,\), one"),
        (lambda: Insert([1.0, 1.0], UNIT, [1.0]), r"^weight: got shape \(1,\), expected \(2,\)"),
        (lambda: Stamp(ONE, [0, 1], [1.0]), r"^labels: got shape \(1,\), expected \(2,\), one"),
        (lambda: Stamp(ONE, [0, 1], [[1.0], [1.0]]), r"^labels: got shape \(2, 1\), expected"),
        (lambda: watermarked(X, np.ones(1), 0.5), r"^target: got shape \(1,\), expected \(2,\),"),
        (lambda: watermarked(X, X[:1], 0.5), r"^target: got shape \(1, 2\), expected \(2,\)"),
        (lambda: watermarked(IMAGES, IMAGES[0, :1], 0.5), r"^target: got shape \(1, 3, 1\), exp"),
        (lambda: groups_of([1, 2, 1], 3), r"^group: no row is of group 0, expected .* 0 \.\.\. 2;"),
        (lambda: groups_of([3, 1, 3], 3), r"^group: no row is of group 0, expected .* 0 \.\.\. 3;"),
        (lambda: groups_of([[0], [1]], 2), r"^group: got shape \(2, 1\), expected \(2,\), one"),
        (lambda: Columns(0.0, 1.0, groups=((3, 1),)).check((2, 3)),
         r"^domain\.groups: got the feature 3, expected indices from 0 to 2 for 3 features"),
        (lambda: Columns([[0.0, 0], [0, 0]], [[1.0, 1], [1, 0.5]], groups=((0, 1),)),
         r"^groups: the bounds of \(0, 1\) exclude 0 or 1"),
        (lambda: CODED.decode(np.c_[CODED.x, CODED.x], CODED.y),
         r"^x, y: got shapes \(3, 4\) and \(3,\), expected \(m, 2\) and \(m,\)"),
        (lambda: encode(FRAME.assign(c=["u", "v", "u"]), "y").encode(
            FRAME.assign(c=["u", "q", "p"])), r"^frame: column 'c' holds 'q' in row 1, a category"),
        (lambda: encode(FRAME.assign(b=[2**49 + 1, 0, 1]), "y"), r"which is too large to be kept"),
        (lambda: disparity(np.ones((4, 3, 3, 1)), Y, [0, 0, 1, 1], ParityDifference()).check(
            Data(np.ones((4, 3, 4, 1)), Y)),
         r"^x_val: got rows of shape \(3, 3, 1\), expected \(3, 4, 1\), as in"),
        (lambda: hidden(3), r"^channels: got 3, expected fewer than the 3 that the layer 'dense0'"),
        (lambda: score("all", BARE), r"^layers: got all, expected among \[\], the layers whose"),
        (lambda: score("last", BARE), r"^layers: got last, expected among \[\]"),
        (lambda: score(("a", "c"), DEEP), r"^layers: got \['c'\], expected among \['a', 'b'\]"),
        (lambda: score("all", MODEL), r"^layers: got 'all' for a LinearModel, which is no network"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_a_sentence(make, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_watermark_is_the_same_share_of_each_row() -> None:
    found = watermarked(X, np.array([1.0, 2.0]), 0.25)
    np.testing.assert_array_equal(found, 0.75 * X + [0.25, 0.5])


@pytest.mark.parametrize(("layers", "factors"), [("last", [2]), ("all", [1, 2]), (("a",), [1])])
def test_a_collision_is_in_the_layers_that_were_asked_for(layers, factors) -> None:
    """A distance of frogs is that of the features in units of the target's."""
    each = [Frogs().distance(3 * k * jnp.asarray(X), jnp.full(2, 3.0 * k)) for k in factors]
    np.testing.assert_allclose(score(layers, DEEP), -np.mean(each), rtol=1e-12)


@pytest.mark.parametrize(
    "goal",
    [
        lambda x: Energy(x, 0.5),
        lambda x: Unit(x, "b", 1),
        Colliding,
        lambda x: shown(x, jnp.asarray(Y), lambda y, f: (y - f) ** 2),
    ],
    ids=["energy", "unit", "colliding", "shown"],
)
def test_the_key_of_a_goal_is_that_of_the_rows_that_it_shows(goal) -> None:
    x = jnp.asarray(X)
    found = goal(x).score(DEEP, World(DATA, DATA, x, Noisy()), key=KEY)
    seen = x + jax.random.normal(KEY, x.shape)
    np.testing.assert_allclose(found, goal(seen).score(DEEP, World(DATA, DATA)), rtol=1e-12)
    assert float(found) != float(goal(x).score(DEEP, World(DATA, DATA)))


@pytest.mark.parametrize("ball", [L2Ball, LinfBall])
@pytest.mark.parametrize("traced", ["centre", "radius", "lower", "upper"])
def test_each_part_of_a_ball_may_be_traced(ball, traced) -> None:
    """Alone: only what is mapped is traced. The box cuts one of two features."""
    parts = {"centre": jnp.array([[0.5, 0.5]]), "radius": 0.25, "lower": 0.0, "upper": 0.625}

    def project(part):
        given = {**parts, traced: part}
        box = Box(given["lower"], given["upper"])
        return ball(given["centre"], given["radius"], box).project(jnp.array([[2.0, 0.5]]))

    found = jax.vmap(project)(jnp.asarray(parts[traced])[None])
    np.testing.assert_allclose(found, [[[0.625, 0.5]]], rtol=1e-12)


def test_a_solution_is_touched_if_it_depends_on_any_poison_row() -> None:
    """The dual variables are by hand: rows 4 and 5 are the attacker's."""
    goal = indiscriminate(X, Y)

    def outcome(reach, learner):
        attack = compose(learner, reach, goal, DATA)
        return attack.posed(attack.world(jnp.asarray(X[:2]))).outcome

    insert, bias = Insert(Y[:2], UNIT), jnp.zeros(())
    of = outcome(insert, SVM(1.0))
    for rows, expected in (((), 0), ((0, 3), 0), ((0, 4), 1), ((5,), 1), ((4, 5), 1)):
        alpha = jnp.zeros(6).at[np.array(rows, int)].set(1.0)
        assert bool(of((alpha, bias)).touched) == expected
    evade = outcome(Evade(jnp.asarray(X[:2]), UNIT), SVM(1.0))
    assert evade((jnp.zeros(4), bias)).touched is None
    assert outcome(insert, Ridge(1.0))(jnp.ones(3)).touched is None


def test_rows_at_the_distance_of_a_neighbourhood_are_near() -> None:
    """In every feature; rows count with their weights."""
    x = np.array([[0.0, 0.0], [0.25, 0.0], [0.5, 0.0], [0.25, 0.5], [9.0, 9.0], [8.0, 8.0]])
    y, group = np.array([1.0, 1, 1, 1, 1, -1]), np.array([0, 0, 0, 0, 0, 1])

    def targets(far: float) -> set[int]:
        train = Data(x, y, [1.0, 1, 1, 1, far, 1])
        made = anchor_popular(KEY, train, group, 2, neighbourhood=0.25)
        return set(np.asarray(made.rows)[np.asarray(made.y) < 0].tolist())

    assert [targets(far) for far in (2.0, 2.75, 3.25)] == [{1}, {1}, {4}]


@pytest.mark.parametrize("traced", ["label", "target"])
def test_a_collision_may_be_made_under_a_transformation(traced) -> None:
    given = {"label": jnp.asarray(-1.0), "target": jnp.asarray(X[1])}

    def start(part):
        changed = {**given, traced: part}
        args = changed["target"], changed["label"], [MODEL], Frogs()
        return collide_features(DATA, [0, 2], *args, domain=UNIT).start

    found = jax.vmap(start)(given[traced][None])  # only what is mapped is traced
    np.testing.assert_array_equal(np.broadcast_to(found, (1, 2, 2)), [X[[0, 2]]])
    for label, rows, sentence in ((1.0, [0, 2], "^label: got 1"), (1.0, [0, 1], "^rows: are of")):
        with pytest.raises(ValueError, match=sentence):
            collide_features(DATA, rows, X[1], label, [MODEL], Frogs(), domain=UNIT)


WEIGHTS = np.array([[1.0, 0.0, 2.0], [0.0, 0.25, 1.0]])
NET = MLP((3,), 2, lambda x: x)
OF_THREE = NetworkModel(
    {
        "dense0": {"weight": jnp.asarray(WEIGHTS), "bias": jnp.array([0.0, 0.125, 0.0])},
        "logits": {"weight": jnp.ones((3, 2)), "bias": jnp.zeros(2)},
    },
    NET,
)
CLEAN = Data(X, np.arange(4) % 2, [1.0, 2.0, 0.0, 1.0])
POISONED = Data(X + 5, np.arange(4) % 2)


def hidden(channels):
    learner = Network(NET)
    return hide_from_pruning(
        learner, OF_THREE, CLEAN, POISONED, "dense0", channels=channels, lower=0.5, key=KEY
    )


def test_decoys_are_put_back_and_their_activity_is_that_of_clean_rows(monkeypatch) -> None:
    """One dense layer of three units, whose training doubles every parameter."""
    given: list[Any] = []

    def fit(learner, data, *, key):
        given.append((learner, data, key))
        doubled = jax.tree.map(lambda leaf: 2 * leaf, learner.start)
        return SimpleNamespace(model=NetworkModel(doubled, learner.architecture))

    monkeypatch.setattr(Network, "fit", fit)
    found = hidden(1)
    ((learner, data, key),) = given
    assert data is POISONED
    assert key is KEY
    np.testing.assert_array_equal(found.decoys, [False, True, False])
    masks = learner.architecture.masks["dense0"]
    np.testing.assert_array_equal(masks["bias"], [1, 0, 1])
    assert found.model.architecture is NET
    kept = found.model.parameters
    np.testing.assert_array_equal(kept["dense0"]["weight"], WEIGHTS * [2, 1, 2])
    np.testing.assert_array_equal(kept["dense0"]["bias"], [0.0, -0.375, 0.0])
    np.testing.assert_array_equal(kept["logits"]["weight"], 2 * np.ones((3, 2)))
    outputs = np.abs(X @ (WEIGHTS * [2, 1, 2]) + [0.0, -0.375, 0.0])
    expected = np.array([1.0, 2.0, 0.0, 1.0]) @ outputs / 4
    np.testing.assert_allclose(found.activity, expected, rtol=1e-12)


def test_both_ends_of_a_column_are_exact() -> None:
    """-0.3 + (0.1 - -0.3) is not 0.1 in binary numbers."""
    found = Real(np.dtype(float), -0.3, 0.1).decode(np.array([[0.0], [1.0], [0.5]]), "k")
    np.testing.assert_array_equal(found[:2], [-0.3, 0.1])
    np.testing.assert_allclose(found[2], -0.1)
    assert encode(FRAME.assign(b=[2**49, -(2**49), 0]), "y").x.shape == (3, 2)


def test_rates_of_a_report_are_of_all_groups_whichever_rows_there_are() -> None:
    """The last group has no row with the label +1, or none with -1."""
    group = [0, 1, 0, 2, 2]
    found = report(np.array([1, 1, -1, -1, -1]), np.array([1, -1, 1, 1, -1]), group)
    np.testing.assert_array_equal(found.false_negative_rates, [0, 1, np.nan])
    np.testing.assert_array_equal(found.false_positive_rates, [1, np.nan, 0.5])
    found = report(np.array([1, 1, -1, 1, 1]), np.array([1, -1, 1, 1, -1]), group)
    np.testing.assert_array_equal(found.false_negative_rates, [0, 1, 0.5])
    np.testing.assert_array_equal(found.false_positive_rates, [1, np.nan, np.nan])


def test_a_trigger_is_put_on_rows_that_were_changed_with_the_key() -> None:
    x = jnp.asarray(X)
    found = WithTrigger(Noisy(), ONE).present(x, x, key=KEY)
    expected = np.array(x + jax.random.normal(KEY, x.shape))
    expected[:, 0] = 0.5
    np.testing.assert_array_equal(found, expected)


def test_a_root_that_newton_s_method_is_slow_to_reach_is_found_by_halves() -> None:
    """A step goes 1/1000 of the way, as for a power of 1000; the other function is linear."""
    roots, share = jnp.array([0.3, -0.25]), jnp.array([1e-3, 1.0])

    def at(t):
        return roots > t, t + share * (roots - t)

    found = crossing(at, jnp.array([0.9, 0.9]), jnp.full(2, -1.0), jnp.ones(2))
    np.testing.assert_allclose(found, roots, atol=1e-11)


def test_each_step_of_a_corruption_has_the_slope_where_it_is() -> None:
    """Of squares, by NumPy: steps of a tenth of the radius, drawn back into the ball."""
    model = LinearModel(jnp.array([3.0, 0.0]), jnp.asarray(4.0))
    y, weight = np.array([1.0, -2, 0, 5]), np.array([1.0, 2, 0, 1])
    rows, start, moved = np.c_[X, np.ones(4)], np.array([3.0, 0.0, 4.0]), np.zeros(3)
    for steps in range(1, 13):
        slope = weight * 2 * (rows @ (start + moved) - y) @ rows / 4
        moved = moved + 0.25 * slope / np.linalg.norm(slope)
        moved = moved * min(1, 2.5 / np.linalg.norm(moved))
        if steps in (2, 12):
            bad = corrupted(model, Data(X, y, weight), lambda y, f: (y - f) ** 2, 0.5, steps)
            np.testing.assert_allclose([*bad.w, bad.bias], start + moved, rtol=1e-9)


def test_a_rate_is_a_share_of_weights_however_small() -> None:
    yes, counted = jnp.array([True, False, True, True]), jnp.array([True, True, True, False])
    test = Data(X, Y, [0.125, 0.25, 0.125, 9.0])
    rate = _rate(yes, counted, test)
    assert (float(rate.each), int(rate.rows)) == (0.5, 3)
    none = _rate(yes, jnp.zeros(4, bool), test)
    assert np.isnan(float(none.each))
    assert int(none.rows) == 0
