"""Rows of the audit's, the raw tables' and the scale's experiments, cell by cell."""

import itertools
import json
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from saying import looped, put, said

from benchmarks.data import Rows as Labelled
from benchmarks.experiments.audit import row_ranking
from benchmarks.experiments.hypergradients import raw_tables
from benchmarks.experiments.scale import restarts, scaling, throughput
from defenses.data_audit.judge import Poison, Rows

pytestmark = pytest.mark.stand_ins


def rows(count: int) -> Rows:
    x = np.arange(count, dtype=float)[:, None]
    return Rows(x, np.ones(count), np.ones(count), np.arange(count))


def area(bad: np.ndarray, score: np.ndarray) -> float:
    """The share of pairs of a bad and a good row in which the bad one has the higher score."""
    return float(np.mean(score[bad][:, None] > score[~bad][None]))


def test_poison_is_ranked_where_it_lies_in_the_whole_table(monkeypatch) -> None:
    whole = rows(40)
    ready: Any = SimpleNamespace(
        classes=("a", "b", "c"), task="classes", number=np.arange(40), weight=whole.weight,
        encoding=SimpleNamespace(x=whole.x, y=whole.y),
    )  # fmt: skip
    train = whole.take(np.arange(10, 40, 2))
    parts = SimpleNamespace(train=train, choose="choose", test="test")
    options = row_ranking.Options(tables=("wine",), rate=0.1, flipped=0.15, folds=7)
    added = Poison("added", rows(4))
    changed = Poison("changed", None, (np.array([0, 3, 5, 14]), np.full(4, 2.0)))
    random = Poison("random", None, (np.array([1, 2, 4, 9, 39, 20]), np.full(6, 3.0)))
    moved = ("influence", "match", "choose", ("others", "match", 3))

    def attacker(*given: Any) -> Any:
        assert given == (ready, "match", ("sample", 5, row_ranking.CELLS), 4, 5, moved)
        return SimpleNamespace(climb=lambda many: {4: [added, None]}[many])

    def mistakes(clean: Rows, count: int, classes: int, seed: int) -> Poison:
        assert (len(clean.y), count, classes, seed) == (40, 6, 3, 5)
        return random

    def scores(table: Any, match: Any, seen: Rows, seed: int, folds: int) -> dict[str, Any]:
        assert (table is ready, match, seed, folds) == (True, "match", 5, 7)
        told = np.cos(np.arange(len(seen.y))) + seen.y / 4
        return {"audit": told, "margin": np.sin(told)}

    def wrong(judge: Any, poison: Poison, of: Any) -> float:
        assert (judge, of is parts) == (("judge", True, "match"), True)
        return said(poison.name)

    put(
        monkeypatch, row_ranking, scores=scores, _error=wrong, Attacker=attacker,
        random_mistakes=mistakes, table=lambda name: {"wine": "frame"}[name],
        read=lambda frame: ("read", frame),
        ingest=lambda told, target, seed: {(("read", "frame"), "y", 5): ready}[told, target, seed],
        parts_of=lambda table, split: {5: parts}[split],
        match=lambda *given: {("auto", "classes", 3, (15, 1)): "match"}[given],
        other_labels=lambda match, of, classes: ("others", match, classes),
        influence=lambda match, of, goal, others: ("influence", match, goal, others),
        sample_of=lambda table, of, split, cells: ("sample", split, cells),
        flips=lambda told, counts, rounds: {(moved, (4,), 2): [changed]}[told, counts, rounds],
        Judge=lambda table, match: ("judge", table is ready, match),
    )  # fmt: skip
    expected = []
    for kind, bad, y in (
        ("added", [40, 41, 42, 43], 1.0), ("changed", [10, 16, 20, 38], 2.0),
        ("random", [1, 2, 4, 9, 39, 20], 3.0),
    ):  # fmt: skip
        size = 44 if kind == "added" else 40
        poisoned = np.isin(np.arange(size), bad)
        told = np.cos(np.arange(size)) + np.where(poisoned, y, 1.0) / 4
        expected += [
            {
                "table": "wine", "split": 5, "poison": kind, "method": method,
                "auc": pytest.approx(area(poisoned, score)),
                "poisoned_err": None if kind == "random" else said(kind),
            }
            for method, score in (("audit", told), ("margin", np.sin(told)))
        ]  # fmt: skip
    assert row_ranking.make_rows(options, "wine", 5)["rows"] == expected


def test_each_method_has_its_own_score_and_larger_is_more_suspicious(monkeypatch) -> None:
    x = np.random.default_rng(0).normal(size=(24, 2))
    x[5] += 20
    y = np.arange(24) % 3 + 1.0
    told = np.random.default_rng(1).dirichlet(np.ones(3), 24)
    of = Rows(x, y, np.full(24, 2.0), np.arange(24))

    class Doubts:
        def __init__(self, *given: Any):
            assert said(given) == said((x, y, of.weight, match, 3, 5))

        def without_the_worst(self) -> tuple[str, str]:
            return "doubts", "others"

        def ordered(self, doubts: str) -> np.ndarray:
            return {"doubts": np.arange(24.0)}[doubts]

    def predicted(twin: str, rows_x: Any, rows_y: Any, *, cv: Any, method: str) -> np.ndarray:
        assert (twin, rows_x is x, rows_y is y, method) == ("twin", True, True, "predict_proba")
        assert (cv.n_splits, cv.shuffle, cv.random_state) == (7, True, 5)
        return told

    match: Any = SimpleNamespace(twin=lambda: "twin")
    put(monkeypatch, row_ranking, Doubts=Doubts, cross_val_predict=predicted)
    ready: Any = SimpleNamespace(classes=(1, 2, 3))
    found = row_ranking.scores(ready, match, of, 5, 7)
    assert tuple(found) == row_ranking.METHODS
    own = np.array([told[i, i % 3] for i in range(24)])
    others = np.array([max(told[i, (i + 1) % 3], told[i, (i + 2) % 3]) for i in range(24)])
    np.testing.assert_array_equal(found["audit"], np.arange(24))
    np.testing.assert_allclose(found["self-confidence"], 1 - own)
    np.testing.assert_allclose(found["margin"], others - own)
    far = np.sort(np.linalg.norm(x[:, None] - x[None], axis=-1))[:, 1:11].mean(axis=1)
    np.testing.assert_allclose(found["neighbours"], far)
    assert np.argmax(found["isolation-forest"]) == np.argmax(found["lof"]) == 5


def test_counts_of_raw_tables_are_added_over_their_draws(monkeypatch) -> None:
    options = raw_tables.Options(rows=60, draws=3, steps=8)

    def drawn(name: str, count: int, draw: int) -> Any:
        assert count == 60
        return (name, "train", draw), (name, "held", draw), (name, "rng", draw)

    def parts(draw: int) -> tuple[Any, ...]:
        return drawn("offset", 60, draw)

    def solved(learner: str, *given: Any) -> dict[str, int]:
        draw = given[0][2]
        assert (learner, given) == ("huber", parts(draw))
        return {"theirs": 1, "lost": int(draw == 2), "right": 10**draw}

    def attack(victim: str, train: Any, held: Any, rng: Any, steps: int) -> bool:
        assert (victim, train, held, rng, steps) == ("ridge", *parts(train[2]), 8)
        return train[2] != 1

    put(monkeypatch, raw_tables, drawn=drawn, solved=solved, attack=attack)
    assert raw_tables.make_rows(options, "offset", "huber")["rows"] == [{
        "table": "offset", "learner": "huber", "draws": 3, "theirs": 3, "lost": 1, "right": 111,
    }]  # fmt: skip
    assert raw_tables.make_rows(options, "offset", "poison ridge")["rows"] == [
        {"table": "offset", "learner": "poison ridge", "draws": 3, "ended": 2}
    ]


@pytest.mark.parametrize("learner", ["ridge", "svm"])
def test_a_hypergradient_is_timed_beyond_its_training(learner, monkeypatch) -> None:
    def value(parts: Any, make: Any, validation: str) -> Any:
        assert (parts[0], float(parts[1]), make, validation) == ("train", 0.75, "make", "held")
        return None, (jnp.int32(0), jnp.arange(3.0))

    def gradient(*given: Any) -> str:
        value(*given)
        return "gradient"

    def differentiated(function: Any, has_aux: bool) -> Any:
        assert (function, has_aux) == (value, True)
        return gradient

    def seconds(call: Any, repeats: int) -> float:
        assert repeats == 6
        return 0.625 if call() == "gradient" else 0.125

    def beside(data: str, C: float, decisions: np.ndarray) -> dict[str, float]:
        assert (data, C, decisions.tolist()) == ("train", 0.75, [0, 1, 2])
        return {"liblinear_ms": 4.0, "liblinear_excess": 0.0625}

    put(
        monkeypatch, scaling, value=value, seconds=seconds, beside_liblinear=beside,
        eqx=SimpleNamespace(filter_jit=lambda function: function, filter_grad=differentiated),
        made=lambda *sizes: {(30, 4): ("train", "held")}[sizes],
        alone=lambda *words: {"peak_of_data": words, "planned_of_data": 0.25},
    )  # fmt: skip
    monkeypatch.setitem(scaling.LEARNERS, learner, scaling.Kind("make", 0.75))  # pyright: ignore
    options = scaling.Options(features=4, repeats=6)
    more = {"liblinear_ms": 4.0, "liblinear_excess": 0.0625} if learner == "svm" else {}
    assert scaling.make_rows(options, learner, 30)["rows"] == [{
        "learner": learner, "rows": 30, "solved": True, "training_ms": 125.0,
        "hypergradient_ms": 500.0, "ratio": 4.0,
        "peak_of_data": (scaling.MODULE, learner, "30", "4"), "planned_of_data": 0.25, **more,
    }]  # fmt: skip


def test_throughput_is_measured_by_a_process_with_its_own_devices(monkeypatch) -> None:
    options = throughput.Options(steps=9, repeats=4)
    refused: list[str | None] = ["too wide", None]

    def alone(module: str, given: str, *words: str, environment: Any) -> dict[str, Any]:
        assert (module, words, environment) == (throughput.MODULE, ("8", "float32", "2"), "env 2")
        told = json.loads(given)
        assert (told["steps"], told["repeats"]) == (9, 4)
        return {"cpu_ms": 7.0, "refused": refused[0]}

    put(monkeypatch, throughput, alone=alone, _environment=lambda devices: f"env {devices}")
    row = {"dtype": "float32", "devices": 2, "batch": 8, "cpu_ms": 7.0}
    for notes in (["float32, no attack was run: too wide"], []):
        found = throughput.make_rows(options, "float32", 2, 8)
        assert found == {"rows": [row], "notes": notes}
        refused.pop(0)


class Ended(NamedTuple):
    """A recipe at its end."""

    z: Any
    value: Any


def test_the_best_starts_are_chosen_by_validation_and_judged_on_test_digits(monkeypatch) -> None:
    train, held, test = (
        Labelled(np.full((n, 2), float(n)), np.where(np.arange(n) % 2, 1.0, -1.0))
        for n in (6, 4, 5)
    )
    split: Any = SimpleNamespace(train=train, validation=held, test=test)
    starts = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    options = restarts.Options(starts=3, steps=8)
    losses = {0.1: 0.5, 0.3: 0.9, 0.5: 0.8, "clean": 0.25}
    stills = {0.1: 0.6, 0.3: 0.3, 0.5: 0.45}

    class Ours:
        def __init__(self, strength: float, count: int):
            assert strength == restarts.DEFAULT
            self.count = count

        def fit(self, data: Any) -> Any:
            assert (self.count, data.rows) == (6, 6)
            return SimpleNamespace(model=SimpleNamespace(decision=lambda x: x[:, 0]))

        def loss(self, y: Any, f: Any) -> Any:
            assert (y.tolist(), f.tolist()) == (held.y.tolist(), [4.0] * 4)
            return jnp.asarray([0.125, 0.375, 0.25, 0.25])

    def poison(data: Any, start: Any, labels: Any, seen: Any, ours: Ours, **settings: Any) -> Any:
        assert (data.rows, seen.rows, labels.tolist(), ours.count) == (6, 4, [1.0], 7)
        assert settings == {"goal": "goal", "steps": 8, "ascent": restarts.ASCENT}
        number = round(float(start[0, 0]), 6)
        return SimpleNamespace(
            climb=lambda: Ended(start + 1, jnp.asarray(losses[number])),
            attack=lambda z: jnp.asarray(stills[round(float(z[0, 0]), 6)]),
        )

    def errors(theirs: str, of: Any, rows: Labelled) -> tuple[float, float]:
        assert (theirs, of is split) == ("theirs", True)
        assert rows.y.tolist() == [1.0] * len(rows.x)
        return 99.0, said("test", np.round(rows.x[:, 0], 6))

    put(
        monkeypatch, restarts, begin=lambda given, number: {(options, 4): (split, starts)}[
            given, number
        ], poison_classifier=poison, errors=errors, warm=lambda call: (call(), 6.0, 77.0),
        indiscriminate=lambda x, y, loss: {(4, 4): "goal"}[len(x), len(y)],
        bilevel=SimpleNamespace(batch=looped),
    )  # fmt: skip
    twin = SimpleNamespace(ours=Ours, theirs=lambda strength: "theirs")
    monkeypatch.setitem(restarts.CLASSIFIERS, "svm", twin)

    def best(values: list[float], by: list[float], k: int) -> Any:
        sets = itertools.combinations(range(3), k)
        return pytest.approx(np.mean([values[max(few, key=lambda i: by[i])] for few in sets]))

    value, still = [0.5, 0.9, 0.8], [0.6, 0.3, 0.45]
    moved, there = ([said("test", [a + b]) for a in (0.1, 0.3, 0.5)] for b in (1, 0))
    expected = [
        {
            "learner": "svm", "split": 4, "starts": k, "loss": best(value, value, k),
            "start_loss": best(still, still, k), "test_err": best(moved, value, k),
            "start_test_err": best(there, still, k), "bound_err": best(moved, moved, k),
            "start_bound_err": best(there, there, k), "clean_loss": 0.25,
            "clean_test_err": said("test", []), "as_good": pytest.approx(1 / 3),
            "cpu_seconds": 2.0,
        }
        for k in (1, 2, 3)
    ]  # fmt: skip
    assert restarts.make_rows(options, "svm", 4)["rows"] == expected
