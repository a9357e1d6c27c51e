"""The experiments on audits and Februus, small: rows, controls, and what their notes count."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.experiments.model_defenses import februus, neural_cleanse, tabor
from benchmarks.report import Report, UsageError


def run(name: str, folder: Path, *few: str) -> list[dict]:
    files = ["--json", str(folder / "a.json"), "--out", str(folder)]
    assert main(["run", name, "--passes", "4", *few, *files]) == 0
    return json.loads((folder / "a.json").read_text())["rows"]


@pytest.mark.slow
def test_networks_are_audited_infected_and_clean(tmp_path: Path) -> None:
    few = ["--networks", "1", "--fewer", "1", "--larger", "8", "--rounds", "8"]
    rows = run("neural-cleanse", tmp_path, *few)
    assert [(r["trigger"], r["size"], r["infected"]) for r in rows] == [
        ("square", 4, True), ("square", 4, False), ("square", 8, True), ("blended", 4, True),
    ]  # fmt: skip
    assert rows[0]["success"] > 0.8 > 0.1 > rows[1]["success"]
    assert rows[0]["pixels"] < 0.5 * rows[1]["pixels"]
    assert rows[0]["wrong_stamped"] > rows[0]["wrong_clean"]
    assert (tmp_path / "neural-cleanse.png").stat().st_size > 10_000


@pytest.mark.slow
def test_masks_of_both_methods_are_compared(tmp_path: Path) -> None:
    rows = run("tabor", tmp_path, "--networks", "1", "--sizes", "4", "--audits", "0")
    assert [row["method"] for row in rows] == ["neural-cleanse", "tabor"]
    assert min(row["f1"] for row in rows) > 0.5
    for row in rows:
        mean = 2 * row["precision"] * row["recall"] / (row["precision"] + row["recall"])
        assert row["f1"] == pytest.approx(mean, rel=1e-5)


@pytest.mark.slow
def test_what_networks_looked_at_is_painted_anew(tmp_path: Path) -> None:
    few = ["--networks", "1", "--thresholds", "0.7", "--heats", "places", "--steps", "200"]
    rows = run("februus", tmp_path, *few)
    assert [(r["infected"], r["fill"]) for r in rows] == [
        (infected, fill) for infected in (True, False) for fill in ("none", "mean", "inpainter")
    ]
    none, _, inpainter = rows[:3]
    assert none["success"] > 0.8 > 0.3 > inpainter["success"]
    assert inpainter["recovered"] > none["recovered"] + 0.5
    assert (tmp_path / "februus.png").stat().st_size > 10_000


def test_what_is_lost_is_counted_against_the_same_network() -> None:
    options = februus.Options(networks=2, thresholds=(0.7,), heats=("places",))
    report = Report("februus", options)
    for infected in (True, False):
        for seed, accuracy in enumerate((0.9, 0.8)):
            for fill, lost in (("none", 0.0), ("mean", 0.1 * (seed + 1)), ("inpainter", 0.01)):
                report.row(
                    infected=infected, seed=seed, fill=fill, threshold=0.7,
                    heat="none" if fill == "none" else "places", accuracy=accuracy - lost,
                    success=0.5, recovered=0.5,
                )  # fmt: skip
    februus._notes(report)
    mean = next(note for note in report.notes if note.startswith("infected, mean"))
    assert "lost 15.0 +- 5.0 points" in mean
    assert "lost 1.0 +- 0.0 points" in next(n for n in report.notes if "inpainter" in n)


def test_sizes_are_counted_where_tabor_is_above() -> None:
    options = tabor.Options(sizes=(2, 4), networks=1)
    report = Report("tabor", options)
    for size, ours, theirs in ((2, 0.9, 0.8), (4, 0.5, 0.6)):
        for method, f1 in (("tabor", ours), ("neural-cleanse", theirs)):
            report.row(size=size, seed=0, method=method, f1=f1, precision=0.7, recall=0.6)
    tabor._notes(options, report)
    assert any("above Neural Cleanse's on 1 of 2 sizes" in note for note in report.notes)


def test_half_of_the_rows_are_stamped() -> None:
    options = neural_cleanse.Options()
    of = neural_cleanse.case(neural_cleanse.infection(options, "square", 4), 0)
    changed = np.any(np.asarray(neural_cleanse.half_stamped(of).x != of.clean.x), axis=(1, 2, 3))
    assert np.all(changed[::2])
    assert not np.any(changed[1::2])


@pytest.mark.parametrize(
    ("module", "wrong"),
    [
        (neural_cleanse, {"size": 21}), (neural_cleanse, {"fewer": -1}), (tabor, {"sizes": (30,)}),
        (februus, {"thresholds": (0.0,)}), (februus, {"size": 21}),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_sentences(module, wrong) -> None:
    with pytest.raises(UsageError, match=f"^--{next(iter(wrong))}[:,]"):
        module.Options(**wrong)
