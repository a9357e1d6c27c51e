"""What recipes have in common: empty slots, a goal of one's own, a record, redraws."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attacks import XY, Box
from attacks.recipes import (
    cancel_gradients,
    flip_by_hypergradient,
    flip_greedy,
    flip_random,
    influence_fairness,
    poison_classifier,
    poison_fairness,
    poison_feature_selection,
    poison_network,
    poison_regression,
    poison_svm,
)
from benchmarks.compile_events import counted
from bilevel import Data
from bilevel.learners import SVM, Lasso, Logistic, Ridge

N, D, M = 20, 3, 4
RNG = np.random.default_rng(0)
SIDES = np.where(np.arange(N) % 2, 1.0, -1.0)
X = np.clip(0.5 + 0.15 * SIDES[:, None] + 0.15 * RNG.normal(size=(N, D)), 0, 1)
TARGETS = X @ [0.5, -0.3, 0.2] + 0.3
START, LABELS = X[:M], -SIDES[:M]
WHERE = Box(0.0, 1.0)


def classifier(recipe, learner, **settings):
    def pose(rows, weight=None):
        data = Data(X[M:], SIDES[M:])
        held = Data(X, SIDES)
        return recipe(data, START[:rows], LABELS[:rows], held, learner, weight=weight, **settings)

    return pose


def regression(rows, weight=None):
    start = XY(jnp.asarray(START[:rows]), jnp.round(1 - jnp.asarray(TARGETS[:rows])))
    data, held = Data(X[M:], TARGETS[M:]), Data(X, TARGETS)
    return poison_regression(data, start, held, Ridge(0.01), domain=WHERE, weight=weight, steps=4)


POSED = {
    "svm": classifier(poison_svm, SVM(), steps=4),
    "classifier": classifier(poison_classifier, Logistic(0.1), steps=4),
    "feature selection": classifier(poison_feature_selection, Lasso(0.01), steps=4),
    "regression": regression,
}


@pytest.mark.parametrize(
    "name",
    ["regression", *(pytest.param(n, marks=pytest.mark.slow) for n in POSED if n != "regression")],
)
def test_an_empty_slot_is_no_row_and_rates_share_a_program(name):
    pose = POSED[name]
    full = pose(M, np.ones(M)).climb()
    with counted() as events:
        few = pose(M, np.where(np.arange(M) < 2, 1.0, 0.0)).climb()
    assert events.programs == 0
    expected = pose(2).climb()
    np.testing.assert_allclose(few.value, expected.value, rtol=1e-8)
    moved = zip(jax.tree.leaves(few.z), jax.tree.leaves(expected.z), strict=True)
    for slots, rows in moved:
        np.testing.assert_allclose(slots[:2], rows, atol=1e-6)
    assert float(full.value) > float(few.value)


@pytest.mark.parametrize(
    "recipe", [poison_svm, poison_classifier, poison_regression, poison_feature_selection,
               poison_network, cancel_gradients, poison_fairness, influence_fairness]
)  # fmt: skip
def test_recipes_that_insert_rows_take_the_same_settings(recipe):
    names = set(inspect.signature(recipe).parameters)
    its_goal = recipe in (poison_feature_selection, cancel_gradients, influence_fairness)
    assert {"weight", "domain", "steps", "ascent"} | (set() if its_goal else {"goal"}) <= names
    assert ("goal" in names) != its_goal


@pytest.mark.parametrize("recipe", [flip_random, flip_greedy, flip_by_hypergradient])
def test_flips_take_the_same_settings(recipe):
    assert {"goal", "rows", "key"} <= set(inspect.signature(recipe).parameters)


def test_the_goal_is_by_default_on_the_validation_rows():
    """Not on the training rows, whose first columns are others."""
    held = X + 0.25
    classes, numbers = Data(held, SIDES), Data(held, TARGETS)
    start = XY(jnp.asarray(START), jnp.asarray(TARGETS[:M]))
    train = Data(X[M:], SIDES[M:])
    made: dict[str, Any] = {
        "svm": poison_svm(train, START, LABELS, classes, SVM()),
        "classifier": poison_classifier(train, START, LABELS, classes, Logistic(0.1)),
        "feature selection": poison_feature_selection(train, START, LABELS, classes, Lasso(0.01)),
        "regression": poison_regression(
            Data(X[M:], TARGETS[M:]), start, numbers, Ridge(0.01), domain=WHERE
        ),
    }
    for name, recipe in made.items():
        rows = [leaf for leaf in jax.tree.leaves(recipe.attack.goal) if jnp.ndim(leaf) == 2]
        assert rows, name
        for leaf in rows:
            np.testing.assert_array_equal(leaf, held, err_msg=name)
