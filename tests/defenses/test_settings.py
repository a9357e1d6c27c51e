"""The settings of a defense reach the surrogate, and what the defense is made of."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import defenses
from bilevel import Data
from bilevel.derivatives import Unroll
from bilevel.learners import Fixed, LinearModel, Logistic
from bilevel.losses import CrossEntropy
from bilevel.solvers import Descent
from defenses import (
    AbstractDefense,
    AbstractRepair,
    ClipChannels,
    FewerLevels,
    Filter,
    FinePrune,
    FineTune,
    ImplicitUnlearning,
    MicroModels,
    Partition,
    Relabel,
    Sever,
    SoftTrim,
    StraightThrough,
    Trim,
    Tuning,
    Unlearn,
)
from defenses.repair import fine_prune, implicit_unlearning, tuning
from defenses.scores import Neighbours

DATA = Data(np.zeros((4, 2)), np.array([1.0, -1.0, 1.0, -1.0]))
PLAIN = Logistic(0.05)
INNER = Trim(PLAIN, 0.3, balance=0.2)
UNUSUAL: dict[type[AbstractDefense], Any] = {
    Trim: lambda of: Trim(of, 0.15, 2, 50, 7, 0.4),
    Filter: lambda of: Filter(of, Neighbours(3), 0.15, (0.0, 1.0, 2.0)),
    Sever: lambda of: Sever(of, 0.15, 3, 0.4),
    Relabel: lambda of: Relabel(of, 4, 0.9, -1.0, 0.4),
    MicroModels: lambda of: MicroModels(of, 4, 0.65, 9, 0.4),
    Partition: lambda of: Partition(of, 4, 9),
    FewerLevels: lambda of: FewerLevels(of, 3),
    AbstractRepair: lambda of: ClipChannels(of, ("a", "b"), 2.0),
}
"""Every defense that has a surrogate of its own, no setting at its default."""
OWN = {"learner", "max_trainings"}
"""A smooth search takes another number of trainings."""


def settings(of: Any) -> dict[str, Any]:
    return {f.name: getattr(of, f.name) for f in dataclasses.fields(of) if f.name not in OWN}


def test_every_defense_with_a_surrogate_of_its_own_is_tried() -> None:
    found = {
        base
        for each in vars(defenses).values() if isinstance(each, type)
        for base in each.__mro__ if issubclass(base, AbstractDefense)
    }  # fmt: skip
    assert {each for each in found if "surrogate" in vars(each)} == set(UNUSUAL)


@pytest.mark.parametrize("kind", UNUSUAL, ids=lambda kind: kind.__name__)
def test_a_surrogate_has_the_settings_of_the_defense_and_wraps_the_surrogate(kind) -> None:
    for inner in (PLAIN, INNER):
        defense = UNUSUAL[kind](inner)
        made: Any = defense.surrogate(DATA)
        if isinstance(made, StraightThrough):
            assert type(made.defense) is type(defense)
            made = made.defense
        theirs, ours = settings(defense), settings(made)
        shared = theirs.keys() & ours.keys()
        assert shared
        assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}
        if inner is PLAIN:
            assert eqx.tree_equal(made.learner, PLAIN)
        else:
            assert isinstance(made.learner, SoftTrim)
            assert (made.learner.contamination, made.learner.balance) == (0.3, 0.2)
            assert eqx.tree_equal(made.learner.learner, PLAIN)


TUNING = Tuning(Descent(optax.sgd(0.3), 7), 3, 0.5, Unroll(5))
FIXED = Fixed(LinearModel(jnp.zeros(2), jnp.zeros(())), CrossEntropy())


@pytest.mark.stand_ins
def test_fine_pruning_passes_on_what_it_is_told(monkeypatch) -> None:
    asked = []

    def made(*arguments):
        asked.append(arguments)
        stub = SimpleNamespace(model="pruned", report="what was pruned", result=0)
        return SimpleNamespace(repair=lambda *a, **k: asked.append((*a, k)) or stub)

    defense = FinePrune(FIXED, DATA, "layer", 3, 0.07, TUNING)
    monkeypatch.setattr(fine_prune, "Prune", made)
    monkeypatch.setattr(fine_prune, "FineTune", made)
    repaired = defense.repair("network", DATA, key="key")  # pyright: ignore[reportArgumentType]
    assert repaired.report == "what was pruned"
    assert asked == [
        (FIXED, DATA, "layer", 3, 0.07), ("network", DATA, {}),
        (FIXED, DATA, TUNING), ("pruned", DATA, {"key": "key"}),
    ]  # fmt: skip


@pytest.mark.stand_ins
@pytest.mark.parametrize("kind", ["fine-tuning", "unlearning", "implicit unlearning"])
def test_repairs_tune_with_what_they_are_told(monkeypatch, kind) -> None:
    """On the defender's rows, of which unlearning stamps its share."""
    asked = {}

    class Network:
        def __init__(self, architecture, loss, l2, batch, **others):
            asked.update(others, architecture=architecture, loss=loss, l2=l2, batch=batch)

        def fit(self, clean, key, throw):
            assert not throw
            asked.update(clean=clean, key=key)
            return SimpleNamespace(model=net, result=0)

    net: Any = SimpleNamespace(architecture="architecture", parameters="parameters")
    clean = Data(np.zeros((10, 2)), np.arange(10))
    ball: Any = SimpleNamespace(worst=lambda architecture, parameters, *others: parameters)
    defense: Any = {
        "fine-tuning": lambda: FineTune(FIXED, clean, TUNING),
        "unlearning": lambda: Unlearn(FIXED, clean, np.ones(2), np.ones(2), 0.3, TUNING),
        "implicit unlearning": lambda: ImplicitUnlearning(FIXED, clean, ball, 0.3, TUNING),
    }[kind]()
    monkeypatch.setattr(tuning, "Network", Network)
    for module in (defenses.repair.fine_tune, defenses.repair.unlearn, implicit_unlearning):
        monkeypatch.setattr(module, "as_network", lambda model: model)
    monkeypatch.setattr(implicit_unlearning, "NetworkModel", lambda *parts: parts)
    monkeypatch.setattr(implicit_unlearning, "_Shifted", lambda *parts: parts)
    key = jax.random.key(0)
    defense.repair(net, DATA, key=key)
    assert (asked["l2"], asked["batch"], asked["start"]) == (0.5, 3, "parameters")
    assert (asked["solver"], asked["derivative"]) == (TUNING.solver, TUNING.derivative)
    assert asked["loss"] is FIXED.loss
    if kind == "implicit unlearning":
        assert asked["architecture"] == ("architecture", ball, clean, FIXED.loss, 0.3)
    if kind == "unlearning":
        assert np.asarray(asked["clean"].x).sum() == 2 * 3
        assert asked["clean"].y is clean.y
    else:
        assert asked["clean"] is clean
        assert asked["key"] is key
