"""Rows of more experiments on backdoors and of matched gradients, cell by cell."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saying import put, retraining, said

from benchmarks.experiments.backdoors import badnets_mnist, optimised_trigger, sponge, toy_backdoor
from benchmarks.experiments.model_defenses import backdoor_arena
from benchmarks.experiments.model_defenses._infected import Figures
from benchmarks.experiments.targeted import gradient_matching
from bilevel import Data

pytestmark = pytest.mark.stand_ins

BADNETS = badnets_mnist.Options(share=0.25, shares=(0.5,), victims=3, fewer=2, distance=6)


@pytest.mark.parametrize(
    ("kind", "share", "many"),
    [("backdoor", 0.25, 3), ("backdoor", 0.5, 2), ("not stamped", 0.25, 2)],
)
def test_an_attack_is_stamped_as_it_says_and_has_as_many_clean_victims(
    kind, share, many, monkeypatch
) -> None:
    of = badnets_mnist.Case("train", SimpleNamespace(x="test x"), jax.random.key(1))  # pyright: ignore
    of = of._replace(keys=jax.random.split(of.keys, 3))
    labels = {"next": "labels of next"}

    def stamp(key: Any, trigger: Any, train: str, told: float, given: str) -> Any:
        assert (said(key), trigger) == (said(jax.random.key(0)), ((28, 28, 1), 6))
        assert (train, told, given) == ("train", share, "labels of next")
        return SimpleNamespace(example=lambda data: ("start", data))

    def world(train: str, z: Any, reach: Any) -> Any:
        assert (train, z, hasattr(reach, "example")) == ("train", ("start", "train"), True)
        return SimpleNamespace(shown=lambda x: ("shown", x))

    put(
        monkeypatch, badnets_mnist, stamp=stamp, World=world, case=lambda options: of,
        label_map=lambda name: labels[name], rows_of=lambda name, reach, train: (name, train),
        trained=lambda options, data, keys: ("victims", data, said(keys)),
        clean_victims=lambda options: "clean", first=lambda fitted, count: (fitted, count),
        TRIGGERS={"pattern": lambda shape, distance: (shape, distance)},
    )  # fmt: skip
    found = badnets_mnist.outcome(BADNETS, "next", kind, share)
    victims = ("victims", (kind, "train"), said(of.keys[:many]))
    expected = (of, "labels of next", ("shown", "test x"), ("clean", many), victims)
    assert tuple(found) == expected


def test_victims_of_digits_stand_beside_clean_ones_and_units_beside_theirs(monkeypatch) -> None:
    def rates(*words: Any) -> Any:
        return SimpleNamespace(
            mean=said("mean", *words), worst=said("worst", *words),
            interval=(said("low", *words), said("high", *words)),
        )  # fmt: skip

    def judge(fitted: Any, test: Any, shown: str, labels: str) -> Any:
        words = (fitted.model, test.x, shown, labels)
        return SimpleNamespace(success=rates("success", *words), accuracy=rates("right", *words))

    def response(model: str, x: str, shown: str) -> Any:
        assert (x, shown) == ("x", "shown")
        number = {"clean 0": 1, "clean 1": 2, "own 0": 4, "own 1": 8}[model]
        return badnets_mnist.Response(np.zeros(2), np.array([0.0, number]), 3, number / 64)

    clean, own = (SimpleNamespace(model=name, result=np.zeros(2)) for name in ("clean", "own"))
    test = SimpleNamespace(x="x")
    made = badnets_mnist.Outcome(SimpleNamespace(test=test), "labels", "shown", clean, own)  # pyright: ignore
    put(
        monkeypatch, badnets_mnist, judge=judge, response=response,
        outcome=lambda *given: {(BADNETS, "next", "backdoor", 0.25): made,
                                (BADNETS, "next", "backdoor", 0.5): made}[given],
        unstacked=lambda model: [f"{model} {i}" for i in (0, 1)],
    )  # fmt: skip
    row: dict[str, Any] = {"map": "next", "kind": "backdoor", "share": 0.25, "victims": 2}
    for prefix, model in (("", "own"), ("clean_", "clean")):
        for name, what in (("success", "success"), ("accuracy", "right")):
            for suffix, which in (("", "mean"), ("_low", "low"), ("_high", "high"),
                                  ("_worst", "worst")):  # fmt: skip
                told = said(which, what, model, "x", "shown", "labels")
                row[f"{prefix}{name}{suffix}"] = told
    found = badnets_mnist.make_rows(BADNETS, "next", "backdoor", 0.25)
    assert found["rows"] == [row]
    assert found["notes"] == [
        "next: the unit of the last convolution that the trigger raises most rises by 6.00 and has "
        "9.4 % of its output without it; in clean victims by 1.50, and 2.3 % (medians of 2 victims)"
    ]
    assert "notes" not in badnets_mnist.make_rows(BADNETS, "next", "backdoor", 0.5)


def test_each_square_is_judged_on_test_digits_by_the_head_of_the_options(monkeypatch) -> None:
    options = optimised_trigger.Options(l2=0.375)
    of = SimpleNamespace(test="test")

    def victims(attack: Any, z: Any, test: Any, labels: Any) -> Any:
        assert labels is optimised_trigger.LABELS
        return retraining(attack, z, test)

    put(
        monkeypatch, optimised_trigger, victims=victims,
        case=lambda given, seed: {(options, 5): of}[given, seed],
        composed=lambda case, learner: (case is of, type(learner).__name__, learner.l2),
        patterns=lambda given, case: {k: f"square {k}" for k in optimised_trigger.KINDS},
        error=lambda attack, z: said("gap", attack, z),
    )  # fmt: skip
    attack = (True, "Logistic", 0.375)
    expected = []
    for kind in optimised_trigger.KINDS:
        told = retraining(attack, f"square {kind}", "test")
        gap = said("gap", attack, "square random") if kind == "optimised" else None
        expected.append({
            "seed": 5, "kind": kind, "success": told.attacked.success.mean,
            "clean_success": told.clean.success.mean, "test_err": 1 - told.attacked.accuracy.mean,
            "clean_test_err": 1 - told.clean.accuracy.mean, "gradient_gap": gap,
        })  # fmt: skip
    assert optimised_trigger.make_rows(options, 5)["rows"] == expected


def test_sponge_examples_are_of_networks_without_a_sponge(monkeypatch) -> None:
    options = sponge.Options(examples=2, victims=2)
    test = SimpleNamespace(x=np.arange(12.0).reshape(3, 4))

    def trained(given: Any, train: str, strength: float) -> list[str]:
        assert (given, train, strength) == (options, "train", 0.0)
        return ["first", "second"]

    put(
        monkeypatch, sponge, trained=trained, digits=lambda given: ("train", test),
        sponges=lambda given, model, x: ("moved", model, said(x)),
        fired=lambda model, x: {"fired": said("fired", model, x), "fired_dense0": 9.0},
        energy=lambda model, x: said("energy", model, x),
    )  # fmt: skip
    noise = jax.random.uniform(jax.random.key(2), (2, 4))
    expected = []
    for number, model in enumerate(("first", "second")):
        for name, x in (("digits", test.x[:2]), ("noise", noise)):
            z = ("moved", model, said(x))
            expected.append({
                "part": "examples", "victim": number, "start": name,
                "fired_before": said("fired", model, x), "fired": said("fired", model, z),
                "energy_before": said("energy", model, x), "energy": said("energy", model, z),
            })  # fmt: skip
    assert sponge.make_examples(options)["rows"] == expected


@pytest.fixture
def toy(monkeypatch) -> SimpleNamespace:
    """Copies, goals and attacks that say what they are of."""
    y = np.array([1.0, -1.0, 1.0, -1.0, -1.0, 1.0])
    x = np.random.default_rng(0).normal(size=(6, 3))
    of = SimpleNamespace(train=SimpleNamespace(x=x, y=y), test=SimpleNamespace(x="x", y="y"))

    def copies(case: Any, share: float, trigger: Any = None) -> Any:
        assert case is of
        return SimpleNamespace(example=lambda train: ("start", share), name=(share, trigger))

    def compose(learner: Any, reach: Any, goal: Any, train: Any) -> Any:
        assert train is of.train
        assert goal == ("x", "y", "x", "y", learner.loss)
        return learner.name, reach.name

    def victims(attack: Any, z: Any, test: Any, labels: Any) -> Any:
        assert (test is of.test, labels is toy_backdoor.LABELS) == (True, True)
        return retraining(attack, z)

    put(
        monkeypatch, toy_backdoor, copies=copies, compose=compose, victims=victims,
        backdoor=lambda *given: given, Added=lambda shift: ("added", np.round(shift, 6)),
        Ridge=lambda l2: SimpleNamespace(name=("ridge", l2), l2=l2, loss="loss"),
    )  # fmt: skip
    return of


def test_shares_of_copies_are_judged_beside_clean_digits(toy) -> None:
    learner: Any = SimpleNamespace(name="mine", l2=0.375, loss="loss")
    options = toy_backdoor.Options(shares=(0.125, 0.25), share=0.5)
    expected = []
    for share in (0.125, 0.25):
        told = retraining(("mine", (share, None)), ("start", share))
        expected.append({
            "part": "share", "learner": "ridge", "l2": 0.375, "share": share,
            "success": told.attacked.success.mean, "clean_success": told.clean.success.mean,
            "test_err": 1 - told.attacked.accuracy.mean,
            "clean_test_err": 1 - told.clean.accuracy.mean,
        })  # fmt: skip
    assert list(toy_backdoor._shares(options, toy, "ridge", learner)) == expected


def test_directions_are_of_the_covariance_within_classes_with_both_signs(toy) -> None:
    options = toy_backdoor.Options(shares=(0.125,), share=0.5, l2=0.375, directions=2, size=3)
    x, y = toy.train.x, toy.train.y
    within = sum(
        np.cov(x[y == side], rowvar=False, bias=True) * np.mean(y == side) for side in (-1, 1)
    )
    values, vectors = np.linalg.eigh(within)
    found = list(toy_backdoor._directions(options, toy))
    assert [row["direction"] for row in found] == [0, 1]
    for row, index in zip(found, (0, 2), strict=True):
        assert (row["part"], row["variance"]) == ("direction", pytest.approx(values[index]))
        both = [
            retraining(
                (("ridge", 0.375), (0.5, ("added", np.round(sign * 3 * vectors[:, index], 6)))),
                ("start", 0.5),
            )
            for sign in (-1, 1)
        ]
        success, clean = (
            np.mean([getattr(told, kind).success.mean for told in both])
            for kind in ("attacked", "clean")
        )
        assert (row["success"], row["clean_success"]) == (success, clean)


def test_matched_digits_stand_beside_noise_and_clean_victims(monkeypatch) -> None:
    options = gradient_matching.Options(members=3, restarts=6)
    of = SimpleNamespace(train=SimpleNamespace(x=np.arange(20.0)[:, None]))
    chosen = SimpleNamespace(rows=np.array([[5, 6], [7, 8]]), x=np.array([[3.0], [4.0]]))
    moved, alignment = np.full((2, 2, 1), 0.5), np.array([0.25, 0.75])

    def judged(case: Any, pairs: Any, kind: str, seen: Any, **cells: Any) -> list[Any]:
        assert (case is of, pairs is chosen) == (True, True)
        return [{"kind": kind, "seen": seen, **{name: said(cells[name]) for name in cells}}]

    put(
        monkeypatch, gradient_matching, judged=judged,
        digits=lambda *given: {(options, 5, 3): of}[given],
        pairs=lambda given, case, seed: {5: chosen}[seed],
        matched=lambda given, case, pairs: {options: (moved, alignment)}[given],
        read=lambda given, case, pairs, z: ("read", said(z)),
        read_clean=lambda case, pairs: "clean", shaken=lambda given, case, pairs: "shaken",
    )  # fmt: skip
    found = gradient_matching.make_rows(options, 5)
    assert found["rows"] == [
        {"seed": 5, "kind": "matched", "seen": ("read", said(moved)), "alignment": said(alignment)},
        {"seed": 5, "kind": "noise", "seen": ("read", said("shaken"))},
        {"seed": 5, "kind": "clean", "seen": "clean"},
    ]
    images = (of.train.x[chosen.rows], moved, chosen.x[:, None])
    assert [said(part) for part in found["images"]] == [said(part) for part in images]


def told(model: Any, rows: Any) -> Figures:
    return Figures(*(said(what, model, rows.name) for what in Figures._fields))


def test_each_defense_of_the_arena_is_judged_with_its_own_network(monkeypatch) -> None:
    rows = SimpleNamespace(name="rows")

    def make(passes: int, seed: int) -> Any:
        return SimpleNamespace(model=f"backdoor {passes} {seed}", rows=rows)

    def defend(name: str) -> Any:
        return lambda options, of, seed: (name, of.model, options.passes, seed)

    put(
        monkeypatch, backdoor_arena, figures=told,
        ATTACKERS={"among": SimpleNamespace(make=make, knows=("spectral",))},
        DEFENSES={"spectral": defend("spectral"), "strip": lambda *given: None,
                  "median": defend("median")},
    )  # fmt: skip
    options = backdoor_arena.Options(defenses=("spectral", "strip", "median"), passes=7)
    models: dict[str, Any] = {
        "none": "backdoor 7 5", "spectral": ("spectral", "backdoor 7 5", 7, 5), "strip": None,
        "median": ("median", "backdoor 7 5", 7, 5),
    }  # fmt: skip
    assert backdoor_arena.make_rows(options, "among", 5)["rows"] == [
        {
            "attack": "among", "seed": 5, "defense": name, "knows": name == "spectral",
            **(dict.fromkeys(Figures._fields) if model is None else told(model, rows)._asdict()),
        }
        for name, model in models.items()
    ]  # fmt: skip


def test_rows_are_kept_and_a_network_fitted_by_what_the_defender_has(monkeypatch) -> None:
    """Poisoned rows for a defense of rows, if he has them; clean rows for one of networks."""
    poisoned = Data(np.arange(4.0)[:, None], np.arange(4))
    rows: Any = SimpleNamespace(poisoned=poisoned, clean="clean")
    of: Any = SimpleNamespace(model="model", rows=rows, inspected=True)
    options = backdoor_arena.Options(passes=7)

    def detector(base: Any) -> Any:
        def inspect(data: Data) -> Any:
            assert (base, data is poisoned) == ("model", True)
            return SimpleNamespace(kept=np.array([True, False, True, False]))

        return SimpleNamespace(inspect=inspect)

    def repair(base: Any, case: Any) -> Any:
        assert case is of
        return SimpleNamespace(fit=lambda data, key: SimpleNamespace(model=(base, data, said(key))))

    put(
        monkeypatch, backdoor_arena, Fixed=lambda model, loss: model,
        trained=lambda data, passes, seed: (said(data.x), said(data.y), passes, seed),
    )  # fmt: skip
    defend = backdoor_arena._inspected(detector)
    expected = (said(jnp.asarray([[0.0], [2.0]])), said(jnp.asarray([0, 2])), 7, 5)
    assert defend(options, of, 5) == expected
    of.inspected = False
    assert defend(options, of, 5) is None
    fitted: Any = backdoor_arena._fitted(repair)(options, of, 5)
    assert fitted == ("model", "clean", said(jax.random.key(5)))
