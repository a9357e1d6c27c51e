"""What a weight means to goals, capabilities and recipes, in tables: a row of weight 2 is the row
twice, and a row of weight 0 is not there.

Only shares count: all weights times three change nothing.

All at once, on data of one shape: `ONCE` has a row of weight 2 and at its end a row of weight 0,
which lies elsewhere; in `TWICE` that one is the first again, both of weight 1.
"""

import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attacks import (
    AllToNext,
    Box,
    Columns,
    Evade,
    FlipLabels,
    Insert,
    InsertNear,
    InsertXY,
    L1Ball,
    L2Ball,
    LinfBall,
    Perturb,
    Stamp,
    WithTrigger,
    World,
    anchor_popular,
    anchor_random,
    backdoor,
    capabilities,
    corrupted,
    disparity,
    domains,
    fairness,
    flip_groups,
    goals,
    group_loss,
    indiscriminate,
    judge,
    shown,
    stat_p,
    targeted,
    triggers,
)
from attacks.capabilities._capability import row_scale
from attacks.goals import (
    AbstractRowGoal,
    Align,
    AtMost,
    Cancelling,
    Disparity,
    Near,
    Penalised,
    Sum,
)
from bilevel import Data
from bilevel.learners import Fitted, LinearModel
from bilevel.losses import Logistic

N, D = 15, 3
RNG = np.random.default_rng(8)
X = RNG.normal(size=(N, D))
Y = np.where(np.arange(N) % 2, 1.0, -1.0)
GROUP = np.array([0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2, 0, 0, 0])
WEIGHT = RNG.uniform(0.5, 1.8, N)


def of(*columns):
    """Of columns (n, ...), with the weights behind them: (once, twice)."""
    heavy, far = 9, N - 1
    once, twice = ([np.array(c) for c in (*columns, WEIGHT)] for _ in range(2))
    once[-1][[heavy, far]] = 2, 0
    twice[-1][[heavy, far]] = 1
    for column in twice[:-1]:
        column[far] = column[heavy]
    return once, twice


def same(*columns):
    """`of` columns, and `once` with weights in another unit: only their shares count."""
    once, twice = of(*columns)
    return once, twice, [*once[:-1], 3 * once[-1]]


def assert_alike(results):
    first, *others = (jax.tree.leaves(result) for result in results)
    for other in others:
        for ours, theirs in zip(first, other, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


MODEL = LinearModel(jnp.asarray([0.7, -0.4, 0.3]), jnp.asarray(0.2))
MEASURES = [
    m
    for m in vars(fairness).values()
    if isinstance(m, type) and issubclass(m, fairness.AbstractMeasure) and not inspect.isabstract(m)
]
FEW = X[:4], Y[:4]


def weighing(goal, weight):
    """The goal with these weights of the rows in question, N of them."""

    def weighed(part):
        ours = has_rows(part) and part.y.shape == (N,)
        return eqx.tree_at(lambda p: p.weight, part, weight) if ours else part

    return jax.tree.map(weighed, goal, is_leaf=has_rows)


def has_rows(node) -> bool:
    return isinstance(node, AbstractRowGoal | Disparity)


def on_train(goal):
    return lambda x, y, group, w: (goal, World(Data(x, y, w)))


def on_rows(make):
    return lambda x, y, group, w: (weighing(make(x, y), w), World(Data(*FEW)))


def of_measure(measure):
    def made(x, y, group, w):
        return weighing(disparity(x, y, group, measure, 0.5), w), World(Data(*FEW))

    return made


def of_groups(x, y, group, w):
    """Each group is the rows of which the others have weight zero."""
    goal = group_loss(x, y, group, [1.0, -0.5, 2.0])
    parts = [weighing(part, jnp.where(group == g, w, 0)) for g, part in enumerate(goal.goals)]
    return Sum(parts, goal.weights), World(Data(*FEW))


WEIGHTED = {
    "indiscriminate": on_rows(indiscriminate),
    "shown": on_rows(lambda x, y: shown(x, y, Logistic())),
    "targeted, target": on_rows(lambda x, y: targeted(x, y, *FEW, Logistic(), 0.6)),
    "targeted, rest": on_rows(lambda x, y: targeted(*FEW, x, y, Logistic(), 0.6)),
    "backdoor, sources": on_rows(lambda x, y: backdoor(x, y, *FEW, Logistic(), 0.6)),
    "backdoor, rest": on_rows(lambda x, y: backdoor(*FEW, x, y, Logistic(), 0.6)),
    "Sum": on_rows(lambda x, y: Sum([indiscriminate(x, y), shown(x, y, Logistic())], [1, -2])),
    "AtMost": on_rows(lambda x, y: AtMost(indiscriminate(x, y), 0.1)),
    "Near": on_rows(lambda x, y: Near(indiscriminate(x, y), 0.1)),
    "Penalised": on_rows(lambda x, y: Penalised(indiscriminate(x, y), l1=0.1, l2=0.2)),
    "Cancelling": on_train(Cancelling(Logistic(), 0.1)),
    "Align, poison": lambda x, y, group, w: (
        Align(Data(*FEW), Logistic()),
        World(Data(x, y, w), Data(x, y, w)),
    ),
    "Align, target": lambda x, y, group, w: (
        Align(Data(x, y, w), Logistic()),
        World(Data(*FEW), Data(*FEW)),
    ),
    "group_loss": of_groups,
    **{f"disparity, {m.__name__}": of_measure(m(fairness.Between())) for m in MEASURES},
}
ROWS_ALIKE = {
    "AbstractCollision", "Bullseye", "Collide", "Colliding", "Energy", "Frogs", "Polytope",
    "Resembling", "Towards", "Unit", "answering",
}  # fmt: skip
"""By their documentation: every row counts the same, or there is none."""
SAME = {
    "AbstractGoal", "AbstractRowGoal", "Disparity", "Indiscriminate", "Shown", "SoftError",
    "Targeted", "unwanted",
}  # fmt: skip
"""Bases, a loss, and other names of what is in the table."""


@eqx.filter_jit
def valued(goal, world):
    return eqx.filter_value_and_grad(lambda model: goal.score(model, world))(MODEL)


@pytest.mark.parametrize("name", WEIGHTED)
def test_goals_and_their_gradients(name):
    cases = *same(X, Y, GROUP), (X, Y, GROUP, np.ones(N))
    *alike, plain = (valued(*WEIGHTED[name](*map(jnp.asarray, case))) for case in cases)
    assert abs(alike[0][0] - plain[0]) > 1e-4
    assert_alike(alike)


def classes(module) -> set[str]:
    return {n for n, v in vars(module).items() if callable(v) and not n.startswith("_")}


def test_every_goal_is_in_the_table():
    listed = {name.split(",")[0] for name in WEIGHTED}
    assert listed | ROWS_ALIKE | SAME == classes(goals)
    assert not listed & ROWS_ALIKE


INSIDE = Box(-9.0, 9.0)
DOMAINS = {
    "Box": INSIDE,
    "Columns": Columns(-np.full(D, 9.0), np.full(D, 9.0)),
    "L1Ball": L1Ball(np.zeros((2, D)), 50.0, INSIDE),
    "L2Ball": L2Ball(np.zeros((2, D)), 50.0, INSIDE),
    "LinfBall": LinfBall(np.zeros((2, D)), 50.0, INSIDE),
}
LABELS = np.array([1.0, -1.0])
TRIGGER = triggers.Features([0], [2.0])
CAPABILITIES = {
    "Evade": Evade(jnp.asarray(X[:2]), INSIDE),
    "FlipLabels": FlipLabels([0, 1], 1),
    "Insert": Insert(LABELS, INSIDE),
    "InsertNear": InsertNear(2, INSIDE, MODEL, 0.1),
    "InsertXY": InsertXY(2, INSIDE, Box(0.0, 1.0)),
    "Perturb": Perturb([0, 1], INSIDE),
    "Stamp": Stamp(TRIGGER, [0, 1], LABELS),
    "WithTrigger": WithTrigger(Perturb([0, 1], INSIDE), TRIGGER),
}


@eqx.filter_jit
def scale(reach, data):
    return reach.scale(reach.example(data), data)


scaled = eqx.filter_jit(row_scale)


@pytest.mark.parametrize("name", CAPABILITIES)
def test_scales_of_capabilities(name):
    reach = CAPABILITIES[name]
    assert_alike([scale(reach, Data(*columns)) for columns in same(X, Y)])


@pytest.mark.parametrize("name", DOMAINS)
def test_scales_of_domains(name):
    *alike, plain = (
        float(scaled(DOMAINS[name], jnp.zeros((2, D)), Data(*columns)))
        for columns in (*same(X, Y), (X, Y))
    )
    assert_alike(alike)
    assert abs(alike[0] - plain) > 1e-4


def test_every_capability_and_domain_is_in_a_table():
    other = {"AbstractCapability", "Box", "Reseed", "XY", "stamp"}
    assert CAPABILITIES.keys() | other == classes(capabilities)
    assert DOMAINS.keys() | {"AbstractDomain", "half_grey", "watermarked"} == classes(domains)


KEY = jax.random.key(0)


def popular(data, group):
    """Near a row is but itself: weights decide."""
    return anchor_popular(KEY, data, group, 7, neighbourhood=1e-3, against=1, favoured=0)


def judged(data, group):
    model = jax.tree.map(lambda leaf: leaf[None], MODEL)
    test = Data(data.x, (data.y > 0).astype(int), data.weight)
    fitted = Fitted(model, None, jnp.zeros(1, jnp.int32), {}, None)
    far = data.x.at[:, 0].add(2.0)
    seen = judge(fitted, test, far, AllToNext(2))
    return seen.accuracy.each, seen.success.each


HELPERS = {
    "corrupted": lambda data, group: corrupted(MODEL, data, Logistic(), 0.5),
    "stat_p": lambda data, group: stat_p(KEY, 6, data, MODEL, Box(0.0, 1.0)),
    "judge": judged,
    "anchor_popular": popular,
}
DRAWN = {
    "anchor_random": lambda data, group: anchor_random(KEY, data, group, 7, against=1, favoured=0),
    "flip_groups": lambda data, group: flip_groups(KEY, data, group, 7, against=1, favoured=0),
}


@pytest.mark.parametrize("name", HELPERS)
def test_helpers_of_recipes(name):
    assert_alike(
        [HELPERS[name](Data(x, y, w), group.astype(int)) for x, y, group, w in same(X, Y, GROUP)]
    )


@pytest.mark.parametrize("name", DRAWN | {"anchor_popular": popular})
def test_rows_of_weight_zero_are_not_copied(name):
    draw = DRAWN.get(name, popular)
    kinds = [1, 2, 3, 6, 7, 8]
    some = np.isin(np.arange(N), kinds)
    x = np.where(some[:, None], X, 0.0)  # the others are many, and one another's neighbours
    group = np.where(some, GROUP, (Y > 0).astype(int))  # of the kinds that are copied
    every = draw(Data(x, Y, some.astype(float)), group)
    alone = draw(Data(x[some], Y[some]), group[some])
    assert set(np.asarray(every.rows)) <= set(kinds)
    for leaf in ("x", "y", "group"):
        np.testing.assert_array_equal(getattr(every, leaf), getattr(alone, leaf))
