"""Rows of the experiments on targeted attacks, cell by cell: of which victims, targets, options."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saying import looped, put, said
from scipy.stats import binomtest

from benchmarks.experiments.targeted import (
    frogs,
    gradient_matching,
    last_layer,
    metapoison,
    poisoning_benchmark,
    polytope,
)
from benchmarks.report import UsageError
from bilevel import Data

pytestmark = pytest.mark.stand_ins


def judged(name: str, right: list[int]) -> polytope.Judged:
    return polytope.Judged(np.isin(np.arange(6), right), np.full(6, said("error", name)))


CLEAN, ATTACKED = [0, 1, 2, 3], [0, 4]
"""Targets that victims read right, of which two without poison: of these one is still read so."""


def wilson(hits: int, count: int) -> dict[str, Any]:
    low, high = binomtest(hits, count).proportion_ci(method="wilson")
    share = {"success": hits / count, "low": low, "high": high}
    return {"n": count, **{name: pytest.approx(value, abs=1e-6) for name, value in share.items()}}


@pytest.mark.parametrize("kind", frogs.KINDS)
def test_a_frog_is_beside_its_base_and_its_target(kind, monkeypatch) -> None:
    bases = np.linspace(0, 0.4, 24).reshape(6, 1, 2, 2)
    targets, moved = np.linspace(1, 2, 24).reshape(6, 2, 2), bases.copy()
    moved[1, 0, 0, 1] -= 0.75
    moved[2] += 0.5
    options = frogs.Options(targets=6, train=14, passes=3, base=6, target=8, l2=0.25)

    def given(task: Any, victim: str, depth: str, *poison: Any) -> polytope.Judged:
        assert (victim, depth, task.poisons) == ("white", "linear", 1)
        assert all(getattr(task, name) == getattr(options, name) for name in (
            "targets", "train", "passes", "base", "target", "l2",
        ))  # fmt: skip
        if not poison:
            return judged("clean", CLEAN)
        np.testing.assert_array_equal(poison[0], moved)
        return judged("attacked", ATTACKED)

    put(monkeypatch, frogs, poison=lambda of, name: {(options, kind): moved}[of, name],
        pretrained=lambda of: SimpleNamespace(
            model=SimpleNamespace(features=lambda x: 2 * np.reshape(x, (6, 4)))))  # fmt: skip
    put(
        monkeypatch, polytope, judged=given, clean=given,
        case=lambda task: SimpleNamespace(bases=bases, targets=targets),
    )  # fmt: skip
    found = frogs.make_rows(options, kind)
    apart = np.linalg.norm((moved[:, 0] - targets).reshape(6, 4), axis=1)
    (row,) = found["rows"]
    assert row == {
        "poison": kind, **wilson(3, 4), "change": pytest.approx((0.375 + 0.5) / 6),
        "largest": pytest.approx(0.75), "test_err": pytest.approx(said("error", "attacked")),
        "clean_test_err": pytest.approx(said("error", "clean")),
        "distance": pytest.approx(
            np.mean(apart / np.linalg.norm(targets.reshape(6, 4), axis=1))
        ),
    }  # fmt: skip
    np.testing.assert_array_equal(found["images"], moved[:3, 0])
    monkeypatch.setattr(polytope, "clean", lambda *a: judged("clean", []))
    with pytest.raises(UsageError, match="no clean victim"):
        frogs.make_rows(options, kind)


@pytest.mark.parametrize("depth", ["linear", "end to end"])
def test_each_kind_of_victim_stands_beside_itself_without_poison(depth, monkeypatch) -> None:
    right = {"white": (CLEAN, ATTACKED), "grey": ([1, 2], [1]), "black": ([3, 4, 5], [])}
    options = polytope.Options(targets=6, train=14, poisons=2)

    def given(of: Any, victim: str, name: str, *poison: Any) -> polytope.Judged:
        assert (of, name, poison in ((), ("moved",))) == (options, depth, True)
        return judged(f"{victim} {len(poison)}", right[victim][len(poison)])

    made = polytope.Poison("moved", 0.625)  # pyright: ignore
    put(monkeypatch, polytope, judged=given, clean=given,
        poison=lambda *given: {(options, "frogs", depth): made}[given])  # fmt: skip
    assert polytope.make_rows(options, "frogs", depth)["rows"] == [  # pyright: ignore
        {
            "trained": depth, "poison": "frogs", "victim": victim, "seconds": 0.625,
            "test_err": pytest.approx(said("error", f"{victim} 1")),
            "clean_test_err": pytest.approx(said("error", f"{victim} 0")), **shares,
        }
        for victim, shares in (
            ("white", wilson(3, 4)), ("grey", wilson(1, 2)), ("black", wilson(3, 3)),
        )
    ]  # fmt: skip


def test_victims_train_on_the_images_of_their_target_and_err_on_test_images(monkeypatch) -> None:
    targets, bases = jnp.asarray([[5.0], [6.0]]), jnp.asarray([[[1.0]] * 3, [[2.0]] * 3])
    of = polytope.Case(
        Data(np.zeros((2, 1)), np.array([1, -1], np.int32)),
        Data(np.full((4, 1), 9.0), np.array([1, 1, 1, -1], np.int32)), targets, bases,
    )  # fmt: skip
    options = polytope.Options(targets=2, train=2, poisons=3)
    told = []

    def trained(given: Any, start: str, depth: str, data: Data) -> Any:
        assert (given, start, depth) == (options, "network of grey", "linear")
        assert np.ravel(data.y).tolist() == [1, -1, 1, 1, 1]
        told.append(np.ravel(data.x).tolist())
        # of the first target's images alone the victim reads it right, and errs once
        sign = 1 if told[-1][2] == 1.5 else -1
        return SimpleNamespace(
            predict=lambda x: jnp.where(x[:, 0] == 9, sign, jnp.where(x[:, 0] == 5, -1, 1))
        )

    put(monkeypatch, polytope, batch=looped, case=lambda given: of, trained=trained,
        network=lambda given, victim: f"network of {victim}")  # fmt: skip
    found = polytope.judged(options, "grey", "linear", bases + 0.5)
    assert told == [[0, 0, 1.5, 1.5, 1.5], [0, 0, 2.5, 2.5, 2.5]]
    assert found.right.tolist() == [True, False]
    assert found.error.tolist() == [0.25, 0.75]


def test_predictions_of_a_change_stand_beside_retraining(monkeypatch) -> None:
    """Each target has one row that is changed; cells are of that target and row."""
    of = last_layer.Case(
        Data(np.arange(4.0)[:, None] / 8, np.array([1, 1, -1, -1], np.int32)),
        Data(np.array([[0.5], [0.25]]), np.array([1, -1], np.int32)), "head", 0.125,  # pyright: ignore
    )  # fmt: skip
    options = last_layer.Options(train=4, steps=9)
    certified = []

    def attack(case: Any, goal: Any, rows: Any, level: float) -> Any:
        assert (case is of, level) == (True, 8.0)
        words = (goal, rows)
        return SimpleNamespace(evaluate=lambda z: (jnp.asarray(said(*words, z)), None), of=words)

    def recipe(through: Any, start: Any, ascent: Any, steps: int) -> Any:
        assert (ascent, steps) == (last_layer.STEPS, 9)
        return SimpleNamespace(climb=lambda: SimpleNamespace(z=start + through.of[0][0] / 4))

    def strongest(given: Any, case: Any, goal: Any, level: float) -> Any:
        assert (given, case is of, level) == (options, True, 8.0)
        row = {0.5: 2, 0.25: 3}[goal[0]]
        return jnp.asarray([row]), jnp.arange(4.0)[:, None] + 0.125

    def certify(through: Any, z: Any) -> str:
        certified.append((through.of, z))
        return "certificate"

    put(
        monkeypatch, last_layer, attack=attack, Recipe=recipe, strongest=strongest,
        certify=certify, case=lambda given: of,
        batch=lambda call: lambda data: looped(
            lambda x, y: call(SimpleNamespace(x=x, y=y))
        )(data.x, data.y),
        indiscriminate=lambda x, y, loss: (x.item(), y.item(), loss is last_layer.against),
        swapped=lambda case, goal, rows, z: jnp.asarray(said("swapped", goal, rows, z)),
    )  # fmt: skip
    found = last_layer.make_rows(options, 8.0)
    expected = []
    for i, (x, y, row) in enumerate(((0.5, 1, 2), (0.25, -1, 3))):
        goal, clean = (x, y, True), np.array([[row / 8]])
        z = clean + x / 4
        before, after = (said(goal, [row], at) for at in (clean, z))
        expected.append({
            "levels": 8.0, "target": i, "row": row, "before": -before, "after": -after,
            "retrained": pytest.approx(after - before), "same": False,
            "implicit": pytest.approx((row + 0.125) * x / 4),
            "influence": said("swapped", goal, [row], z),
        })  # fmt: skip
    assert found["rows"] == expected
    assert found["notes"] == ["head's test error 12.5 %", "certificate"]
    assert said(certified) == said([(((0.5, 1, True), [2]), [[0.25]])])


DISTINCT = {"pairs": 2, "seeds": 3, "victims": 4, "train": 500, "share": 0.03, "eps": 0.25,
            "passes": 7}  # fmt: skip


def test_metapoison_and_matching_move_the_same_digits_and_are_timed_apart(monkeypatch) -> None:
    options = metapoison.Options(**DISTINCT, members=6, restarts=9)
    train = Data(np.arange(20.0)[:, None], np.zeros(20))
    of = SimpleNamespace(train=train)
    chosen = SimpleNamespace(
        keys=range(2), rows=np.array([[5, 6], [7, 8]]), x=np.array([[3.0], [4.0]])
    )
    met_z, matched_z = np.full((2, 2, 1), 0.5), np.full((2, 2, 1), 0.75)

    def timed(call: Any) -> Any:
        found = call()
        return found, 99.0, said(found)

    def matched(match: Any, case: Any, pairs: Any) -> Any:
        assert (case is of, pairs is chosen) == (True, True)
        assert match == gradient_matching.Options(**DISTINCT, restarts=9)
        return matched_z, "alignment"

    def met(given: Any, case: Any, pairs: Any, members: Any) -> Any:
        assert (given, case is of, pairs is chosen) == (options, True, True)
        assert members == ("staggered", 5)
        return met_z

    def rows(case: Any, pairs: Any, kind: str, seen: Any, **cells: Any) -> list[dict[str, Any]]:
        assert (case is of, pairs is chosen) == (True, True)
        return [{"kind": kind, "seen": seen, **cells}]

    members = gradient_matching.Options().members
    assert members != options.members
    put(
        monkeypatch, metapoison, timed=timed, met=met, judged=rows,
        digits=lambda *given: {(options, 5, members): of}[given],
        pairs=lambda given, case, seed: {5: chosen}[seed],
        staggered=lambda given, case, seed: ("staggered", seed),
        read=lambda given, case, pairs, z: (given.victims, said(z)),
        shaken=lambda given, case, pairs: "shaken",
    )  # fmt: skip
    monkeypatch.setattr(gradient_matching, "matched", matched)
    found = metapoison.make_rows(options, 5)
    costs = [said(found) / 2 for found in (met_z, (matched_z, "alignment"))]
    kinds = [("metapoison", met_z), ("matched", matched_z), ("noise", "shaken")]
    expected = [{"seed": 5, "kind": kind, "seen": (4, said(z))} for kind, z in kinds]
    for row, cost in zip(expected, costs, strict=False):
        row["seconds"] = [cost, cost]
    assert found["rows"] == expected
    images = (train.x[chosen.rows], met_z, chosen.x[:, None])
    assert [said(part) for part in found["images"]] == [said(part) for part in images]


def crafted(options: Any, attack: str, defense: str, seed: int) -> Any:
    name = f"{attack} against {defense}, {seed}"
    return SimpleNamespace(
        seconds=said("seconds", name), name=name,
        poisons=SimpleNamespace(digest=lambda: f"digest of {name}", name=name),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("attack", "defense"),
    [("bullseye", "trim"), ("through the head", "trim"), ("through the head", "none")],
)
def test_the_attacker_who_knows_the_defense_has_one_cell(attack, defense, monkeypatch) -> None:
    options = poisoning_benchmark.Options(victims=("black", "white"))

    def cells(given: Any, made: Any, known: str, behind: str, seed: int) -> dict[str, float]:
        words = (made.name, known, behind, seed)
        return {"success": said(*words), "test_err": said("err", *words)}

    put(monkeypatch, poisoning_benchmark, crafted=crafted, judged=cells,
        certified=lambda given, *words: said("certified", *words))  # fmt: skip
    found = poisoning_benchmark.make_rows(options, attack, defense, 5)  # pyright: ignore
    unaware, aware = f"{attack} against none, 5", f"{attack} against {defense}, 5"
    knows = attack == "through the head" and defense == "trim"
    assert found["rows"] == [
        {
            "setting": "small", "attack": attack, "victim": known, "defense": defense, "seed": 5,
            "success": said(unaware, known, defense, 5),
            "test_err": said("err", unaware, known, defense, 5),
            "adaptive": said(aware, known, defense, 5) if knows else None,
            "certified": said("certified", known, defense, 5),
            "seconds": said("seconds", unaware), "digest": f"digest of {unaware}",
        }
        for known in ("black", "white")
    ]  # fmt: skip
    assert found["poisons"].name == unaware


@pytest.fixture
def drawn(monkeypatch) -> SimpleNamespace:
    """Trials of a setting of two classes, images that are their numbers."""
    setting = poisoning_benchmark.SETTINGS["small"]._replace(trials=2)
    monkeypatch.setitem(poisoning_benchmark.SETTINGS, "small", setting)
    trials = SimpleNamespace(
        target=np.array([3, 4]), wanted=np.array([9, 4]), base=np.array([[1, 2], [5, 6]]),
        clean=np.array([[7], [8]]),
    )  # fmt: skip
    train, test = (SimpleNamespace(x=first + np.arange(10.0)) for first in (100, 200))
    put(
        monkeypatch, poisoning_benchmark, batch=looped, images=lambda data: (train, test),
        trials=lambda given, seed: {(setting, 5): trials}[given, seed],
    )  # fmt: skip
    return SimpleNamespace(setting=setting, trials=trials)


@pytest.mark.parametrize("defense", ["none", "trim"])
def test_poison_is_made_of_its_own_images_and_against_a_defense_of_collided_ones(
    defense, drawn, monkeypatch
) -> None:
    made = poisoning_benchmark.crafted.__wrapped__
    told = []

    def crafter(*given: Any) -> Any:
        def craft(target, wanted, clean, base, start, key) -> Any:
            told.append(
                (*given[1:], *(said(part) for part in (target, wanted, clean, base, start, key)))
            )
            return base + 0.5

        return craft

    collided = SimpleNamespace(poisons=SimpleNamespace(images=np.array([[41.0, 42], [45, 46]])))
    options = poisoning_benchmark.Options()
    known = {(options, "bullseye", "none", 5): collided}
    put(
        monkeypatch, poisoning_benchmark, crafter=crafter, crafted=lambda *given: known[given],
        timed=lambda call: (call(), 99.0, 7.0),
        Poisons=SimpleNamespace(of=lambda setting, trials, x: (setting, trials, said(x))),
    )  # fmt: skip
    found = made(options, "through the head", defense, 5)
    keys = jax.random.split(jax.random.key(5), 2)
    expected = []
    for i, (target, wanted, clean, base) in enumerate(
        ((203, 1, [7], [101, 102]), (204, -1, [8], [105, 106]))
    ):
        start = base if defense == "none" else collided.poisons.images[i]
        parts = (target, wanted, clean, base, start, keys[i])
        expected.append(("through the head", defense, 5, *(said(part) for part in parts)))
    assert told == expected
    moved = said([[101.5, 102.5], [105.5, 106.5]])
    assert found == ((drawn.setting, drawn.trials, moved), 3.5)


def test_poison_is_judged_beside_controls_of_the_same_victims(drawn, monkeypatch) -> None:
    def controls(setting: Any, trials: Any, known: str, defend: Any) -> Any:
        return setting, trials is drawn.trials, known, defend

    def judge(poisons: Any, known: str, defend: Any, beside: Any) -> Any:
        return SimpleNamespace(row=lambda: (poisons, known, defend, beside))

    put(monkeypatch, poisoning_benchmark, controls=controls, judge=judge,
        without=poisoning_benchmark.without.__wrapped__)  # fmt: skip
    made = SimpleNamespace(poisons="poisons")
    found: Any = poisoning_benchmark.judged(
        poisoning_benchmark.Options(), made, "grey", "trim", 5  # pyright: ignore
    )  # fmt: skip
    trim = poisoning_benchmark.DEFENSES["trim"]
    assert found == ("poisons", "grey", trim, (drawn.setting, True, "grey", trim))
