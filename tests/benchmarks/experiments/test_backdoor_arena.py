"""The backdoor arena: what is said of a defense, and a small run."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.experiments.model_defenses._arena_attacks import ATTACKERS
from benchmarks.experiments.model_defenses.backdoor_arena import DEFENSES, Options, verdict


def row(attack: str, defense: str, success: float | None, accuracy: float = 0.95) -> dict[str, Any]:
    return {"attack": attack, "defense": defense, "success": success, "accuracy": accuracy}


def said(strip: float, covers: float, cost: float) -> str:
    rows = [
        row("clean", "none", 0.0), row("clean", "strip", 0.0, 0.95 - cost),
        row("pattern", "none", 1.0), row("pattern", "strip", strip),
        row("covers", "none", 1.0), row("covers", "strip", covers),
        row("decoys", "strip", None), row("square", "median", 1.0),
    ]  # fmt: skip
    return verdict(Options(), rows, "strip")


def test_a_defense_survives_if_the_worst_attacker_fails_and_it_costs_little() -> None:
    held = said(0.05, 0.1, 0.02)
    assert held.endswith(": survives")
    assert "who knows it (covers) 0.100; at worst (covers) 0.100" in held
    assert "loses 2.0 points" in held
    assert said(0.05, 0.9, 0.02).endswith("does not survive")
    assert said(0.05, 0.1, 0.05).endswith("does not survive")
    assert "success of the plain pattern 0.050" in said(0.05, 0.9, 0.02)


def test_every_defense_is_met_by_an_attacker_who_knows_it() -> None:
    known = {name for attacker in ATTACKERS.values() for name in attacker.knows}
    assert known == set(DEFENSES)
    assert set(Options().attacks) == set(ATTACKERS)
    assert set(Options().defenses) == set(DEFENSES)


@pytest.mark.slow
def test_a_small_run_has_a_row_for_each_pair(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    small = ["--passes", "1", "--attacks", "clean", "decoys", "--defenses", "median", "spectral"]
    run = ["run", "backdoor-arena", *small, "--json", str(file), "--out", str(tmp_path)]
    assert main(run) == 0
    rows = json.loads(file.read_text())["rows"]
    assert [(r["attack"], r["defense"]) for r in rows] == [
        (a, d) for a in ("clean", "decoys") for d in ("none", "median", "spectral")
    ]
    assert [r["success"] is None for r in rows] == [False] * 5 + [True]
    assert (tmp_path / "backdoor-arena.png").exists()
