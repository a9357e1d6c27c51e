"""Rows of what processes of their own measure, and of slopes of SVMs, cell by cell."""

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from saying import put, said

from benchmarks.experiments.hypergradients import (
    compilations,
    hypergradient_peers,
    hypergradients,
    memory,
)
from benchmarks.experiments.networks import network_speed
from benchmarks.experiments.svm import svm_gradient
from benchmarks.experiments.tuning import hyperparameters

pytestmark = pytest.mark.stand_ins


def test_calls_and_caches_are_told_apart(monkeypatch) -> None:
    """Two processes share a folder: the second has what the first has compiled."""
    options: Any = object()
    folders: list[str] = []

    def measured(case: str, given: Any, times: int, cache: str | None = None) -> dict[str, Any]:
        assert (case, given, (times, cache is None)) in (
            ("case", options, (3, True)), ("case", options, (1, False)),
        )  # fmt: skip
        if cache is not None:
            folders.append(cache)
        number = 10 * len(folders)
        call = [
            {"seconds": number + i + 0.5, "compiled": number + i, "loaded": number + i + 7}
            for i in range(times)
        ]
        return {"fit": call}

    put(monkeypatch, compilations, in_a_process_of_its_own=measured)
    assert compilations.make_rows(options, "case")["rows"] == [{  # pyright: ignore
        "case": "case", "verb": "fit", "first_s": 0.5, "second_s": 1.5, "other_data_s": 2.5,
        "cached_process_s": 20.5, "first_compiled": 0, "second_compiled": 1, "other_compiled": 2,
        "cached_compiled": 20, "cached_loaded": 27,
    }]  # fmt: skip
    assert len(folders) == 2
    assert len(set(folders)) == 1


def test_gradients_are_held_against_the_first_that_is_unrolled(monkeypatch) -> None:
    """A way that has failed has no answer, and the forward pass has no gradient."""
    modes = tuple(memory.MODES)
    answers = {mode: [3.0, 4.0 + 0.5 * i] for i, mode in enumerate(modes)}
    failed, against = [mode for mode in modes if mode in memory.LEVELS][:2]
    options = memory.Options(modes=modes[::-1])  # pyright: ignore

    def measured(mode: str, steps: int, given: Any, path: Path) -> dict[str, Any]:
        assert (steps, given, path.parent.is_dir()) == (40, options, True)
        answer = None if mode == failed else answers[mode]
        return {"cpu_s": said(mode), "answer": answer}

    put(monkeypatch, memory, in_a_process_of_its_own=measured, rows=lambda given, path: None)
    found = memory.make_rows(options, 40)["rows"]
    expected = []
    for mode in modes:
        later = modes.index(mode) > modes.index(against)
        error = None
        if later and mode not in ("forward", failed):
            apart = abs(answers[mode][1] - answers[against][1])
            error = pytest.approx(apart / np.linalg.norm(answers[against]))
        expected.append({"mode": mode, "steps": 40, "cpu_s": said(mode), "difference": error})
    assert found == expected


@pytest.mark.parametrize(("way", "steps"), [("flax scan", 3 * 4), ("hypergradient", 14)])
def test_steps_in_a_second_are_those_of_all_members(way, steps, monkeypatch) -> None:
    options = network_speed.Options(passes=4, batch=network_speed.TRAIN, length=14)

    def alone(module: str, *words: str) -> dict[str, float]:
        assert module == network_speed.__name__
        what, name, given, count = words
        assert (what, name, count, json.loads(given)["passes"]) == (way, "lenet", "3", 4)
        return {"cpu_seconds": 0.25, **({"test_err": 0.125} if way == "flax scan" else {})}

    put(monkeypatch, network_speed, alone=alone)
    assert network_speed.make_rows(options, way, "lenet", 3)["rows"] == [{
        "network": "lenet", "way": way, "count": 3, "steps_per_second": 4.0 * steps,
        "cpu_seconds": 0.25, "test_err": 0.125 if way == "flax scan" else None,
    }]  # fmt: skip


def test_a_slope_of_an_svm_is_examined_where_its_points_lie(monkeypatch) -> None:
    options = svm_gradient.Options(C=0.75, seed=9)
    parts = SimpleNamespace(validation="validation")

    def splits(digits: str, pair: str, numbers: Any, seed: int) -> Any:
        assert (digits, pair, numbers, seed) == ("digits", options.pair, (5,), 9)
        return {5: parts}

    def examine(attack: str, z: Any, printed: Any, rng: Any) -> dict[str, Any]:
        same = np.random.default_rng([9, 5, 2])
        return {"ours_error": (attack, said(z), printed), "drawn": rng.normal() == same.normal()}

    z = np.array([[0.25], [0.5]])
    put(
        monkeypatch, svm_gradient, drawn_splits=splits, examine=examine, mnist=lambda: "digits",
        _case=lambda *given: {(2, "mixed", 0.75): ("attack", z)}[given[1:]],
        multipliers=lambda attack, places: jnp.asarray([[0.125, 0.5, 0.375]]) + places.ndim - 3,
        printed_formula=lambda attack, held, at, C: (attack, held, said(at), C),
    )  # fmt: skip
    assert svm_gradient.make_rows(options, 5, 2, "mixed")["rows"] == [{
        "split": 5, "points": 2, "kind": "mixed", "least_alpha": 0.125, "most_alpha": 0.5,
        "ours_error": ("attack", said(z), ("attack", "validation", said(z), 0.75)),
        "drawn": True,
    }]  # fmt: skip


def test_derivatives_are_beside_the_reference_of_their_problem(monkeypatch) -> None:
    options = hypergradients.Options(steps=18, seconds=0.75)
    cells = {"error": 0.25, "angle": 0.5, "bound": 0.125, "compile_seconds": 4.0, "steps": 6}
    rows = [
        SimpleNamespace(name=name, message=f"said {name}", seconds=seconds, memory=3e6, **cells)
        for name, seconds in (("implicit", 0.002), ("unrolled", 0.003))
    ]

    def compare(objective: str, z: str, methods: str, seconds: float) -> Any:
        assert (objective, z, methods, seconds) == ("objective 18", "z", "methods", 0.75)
        return SimpleNamespace(rows=rows, reference="unrolled")

    def case(steps: int) -> Any:
        return SimpleNamespace(objective=f"objective {steps}", z="z", methods="methods")

    put(monkeypatch, hypergradients, compare=compare)
    monkeypatch.setitem(hypergradients.CASES, "logistic", case)
    assert hypergradients.make_rows(options, "logistic")["rows"] == [
        {
            "problem": "logistic", "derivative": name, "reference": name == "unrolled",
            "error": 0.25, "angle_degrees": 0.5, "certified": 0.125, "cpu_ms": ms,
            "compile_seconds": 4.0, "memory_mb": 3.0, "steps": 6, "message": f"said {name}",
        }
        for name, ms in (("implicit", 2.0), ("unrolled", 3.0))
    ]  # fmt: skip


def test_penalties_of_a_split_are_of_each_method(monkeypatch) -> None:
    """First one penalty for all features, then one for each; the rows are of their own seed."""
    options = hyperparameters.Options(seed=30, folds=4, grid=7, steps=9)
    data = SimpleNamespace(rows=np.zeros((2, 6)))
    put(
        monkeypatch, hyperparameters,
        split=lambda *given: {(options.data, 35, 4): data}[given],
        by_grid=lambda of, many: {"found": ("grid", of is data, many)},
        by_hypergradient=lambda of, shape, steps: {"found": (shape, of is data, steps)},
    )  # fmt: skip
    expected = [("grid", True, 7), ((), True, 9), ((5,), True, 9)]
    assert hyperparameters.make_rows(options, 5)["rows"] == [
        {"split": 5, "method": method, "found": found}
        for method, found in zip(hyperparameters.METHODS, expected, strict=True)
    ]


def test_methods_of_peers_are_those_of_the_family_and_a_missing_peer_is_noted(monkeypatch) -> None:
    present, absent = tuple(hypergradient_peers.TOOLS)[:2]
    options = hypergradient_peers.Options(tools=(present, absent), seed=9, seconds=0.75, core=3)
    cores = []

    def one_core(core: int) -> Any:
        cores.append(core)
        return nullcontext()

    def load(name: str) -> Any:
        if name.endswith(hypergradient_peers.TOOLS[absent]):
            raise hypergradient_peers.MissingPeer("it is missing")
        assert name == f"benchmarks.peers.{hypergradient_peers.TOOLS[present]}"
        methods = [SimpleNamespace(setting=setting) for setting in ("slow", "fast")]
        return SimpleNamespace(duals=lambda: methods, others=lambda: [])

    put(
        monkeypatch, hypergradient_peers, one_core=one_core,
        importlib=SimpleNamespace(import_module=load),
        make_task=lambda *given: SimpleNamespace(family="duals", given=given),
        row=lambda task, method, seconds: {"cells": (task.given, method.setting, seconds)},
    )  # fmt: skip
    found = hypergradient_peers.make_rows(options, "svm")  # pyright: ignore
    assert found == {
        "rows": [
            {"problem": "svm", "tool": present, "setting": setting,
             "cells": (("svm", 9), setting, 0.75)}
            for setting in ("slow", "fast")
        ],
        "notes": ["it is missing"],
    }  # fmt: skip
    assert cores == [3]
