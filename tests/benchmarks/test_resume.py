"""Rows from several processes, and runs that go on where they were interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.report import UNFINISHED, Report, UsageError, checkpoint
from benchmarks.version import version

TINY = ["run", "svm-mnist", "--points", "1", "--steps", "4"]
TIMES = {"cpu_seconds", "compile_seconds", "seconds"}


def rows_of(file: Path, times: bool = False) -> list[dict]:
    rows = json.loads(file.read_text())["rows"]
    return [{k: v for k, v in row.items() if times or k not in TIMES} for row in rows]


def grumpy(options, number):
    if number == options:
        raise ValueError("not this one")
    return {"rows": [{"number": number}, {"number": -number}], "notes": [f"made {number}"]}


def stored(make, grid, *, store, version, jobs, after):
    """In place of a sweep: it finds all results in its store, but not in the order of the grid."""
    from bilevel import Item, Swept

    store.mkdir(parents=True, exist_ok=True)
    (store / "version").write_text(version)
    items = [Item(settings, make(**settings)) for settings in grid]
    for item in items[::-1]:
        after(item)
    return Swept(tuple(items))


def test_two_experiments_share_a_folder_and_have_rows_in_the_order_of_their_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bilevel.sweep", stored)
    units = [{"number": number} for number in (3, 1, 2)]
    for name in ("a", "b"):
        report = Report(name, None, resume=tmp_path)
        report.row(number=0)
        made = report.each(grumpy, None, units, "numbers")
        assert [row["number"] for row in report.rows] == [0, 3, -3, 1, -1, 2, -2]
        assert [part["notes"] for part in made] == [["made 3"], ["made 1"], ["made 2"]]
        assert report.notes == ["made 3", "made 1", "made 2"]
    folders = [tmp_path / name / "grumpy" / "version" for name in ("a", "b")]
    assert [folder.read_text() for folder in folders] == [version()] * 2


def test_a_folder_of_other_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a" / "grumpy"
    folder.mkdir(parents=True)
    about = {"task": f"{__name__}.grumpy", "version": "an older one", "x64": True}
    (folder / "sweep.json").write_text(json.dumps(about))
    (folder / "0.json").write_text('{"settings": {}, "cells": {"rows": []}}')
    with pytest.raises(UsageError, match=r"--resume: .* give another folder: .*'an older one'"):
        Report("a", None, resume=tmp_path).each(grumpy, None, [{"number": 1}], "numbers")


@pytest.mark.parametrize("kind", [PermissionError, OSError, ValueError, RuntimeError])
def test_only_a_folder_that_cannot_be_used_is_to_be_changed(
    kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What else goes wrong in a sweep is no matter of the folder."""

    def broken(*given, **settings):
        raise kind("no space")

    monkeypatch.setattr("bilevel.sweep", broken)
    of_folder = kind is not RuntimeError
    expected = UsageError if of_folder else RuntimeError
    said = r"--resume: .*grumpy cannot be gone on from, .*: no space" if of_folder else "no space"
    report = Report("a", None, resume=tmp_path)
    with pytest.raises(expected, match=said):
        report.each(grumpy, None, [{"number": 1}], "numbers")
    assert report.rows == []


def test_the_version_is_of_every_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.version.__file__", str(tmp_path / "benchmarks" / "version.py"))
    seen = {version()}
    for package in ("attacks", "benchmarks", "bilevel", "defenses"):
        (tmp_path / package / "deep").mkdir(parents=True)
        path = tmp_path / package / "deep" / "a.py"
        for text in ("a = 1", "a = 2"):
            path.write_text(text)
            seen.add(version())
    assert len(seen) == 9


def test_an_unfinished_unit_has_a_file_of_its_own(tmp_path: Path, monkeypatch) -> None:
    assert checkpoint(1, split=0) is None
    monkeypatch.setenv(UNFINISHED, str(tmp_path))
    paths = [
        found.path
        for options, unit in ((1, {"split": 0}), (1, {"split": 1}), (2, {"split": 0}))
        if (found := checkpoint(options, **unit)) is not None
    ]
    assert len({*paths}) == 3
    again = checkpoint(1, split=0)
    assert again is not None
    assert again.path == paths[0]


@pytest.mark.slow
def test_rows_are_the_same_from_several_processes(tmp_path: Path) -> None:
    several, one = tmp_path / "several.json", tmp_path / "one.json"
    arguments = ["--splits", "3", "2", "1", "0", "--json"]
    assert main([*TINY, *arguments, str(several), "--jobs", "2"]) == 0
    assert main([*TINY, *arguments, str(one)]) == 0
    assert [json.loads(f.read_text())["environment"]["jobs"] for f in (several, one)] == [2, 1]
    assert rows_of(several) == rows_of(one)


@pytest.mark.slow
def test_a_part_that_fails_in_another_process_leaves_the_others(tmp_path: Path) -> None:
    report = Report("a", None, json_path=tmp_path / "a.json", jobs=2)
    units = [{"number": number} for number in (3, 1, 2)]
    with pytest.raises(UsageError, match=r"1 of 3 parts failed.*{'number': 1}: ValueError: not"):
        report.each(grumpy, 1, units, "numbers")
    assert [row["number"] for row in rows_of(tmp_path / "a.json")] == [3, -3, 2, -2]
    assert report.notes == ["made 3", "made 2"]


def killed_and_resumed(folder: Path, units: int, *arguments: str) -> None:
    """Kill a run after its first result; run it again, and hold it against one never killed."""
    resumed = [*arguments, "--resume", str(folder / "kept"), "--json"]
    first, second, whole = (folder / f"{arguments[1]}-{n}.json" for n in range(3))

    def kept() -> dict[Path, float]:
        results = (folder / "kept" / arguments[1]).glob("make_rows/*.json")
        return {p: p.stat().st_mtime_ns for p in results if p.name != "sweep.json"}

    command = [sys.executable, "-m", "benchmarks", *resumed, str(first)]
    process = subprocess.Popen(command, start_new_session=True)
    while not kept():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = kept()
    assert 0 < len(before) < units
    assert main([*resumed, str(second)]) == 0
    assert len(kept()) == units
    assert kept() | before == kept()  # none was written again
    assert main([*arguments, "--json", str(whole)]) == 0
    assert rows_of(second) == rows_of(whole)
    came = rows_of(first) if first.exists() else []  # as they came, whole or not at all
    assert all(row in rows_of(whole) for row in came)


def test_a_killed_run_goes_on_to_the_same_rows(tmp_path: Path) -> None:
    few = ["--tables", "iris", "--defenses", "duplicates", "--rates", "0.1", "--splits", "15"]
    killed_and_resumed(tmp_path, 15, "run", "random-flips", *few)


@pytest.mark.slow
def test_a_second_experiment_in_the_same_folder_goes_on_too(tmp_path: Path) -> None:
    test_a_killed_run_goes_on_to_the_same_rows(tmp_path)
    killed_and_resumed(tmp_path, 40, *TINY, "--splits", *map(str, range(40)))


def test_rows_reach_the_file_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run without a folder that is killed keeps what it has written."""
    monkeypatch.setattr("benchmarks.report.EVERY", 0.0)
    report, seen = Report("a", None, json_path=tmp_path / "a.json"), []

    def make(options, number):
        seen.append(len(rows_of(tmp_path / "a.json")) if number > 1 else 0)
        return {"rows": [{"number": number}]}

    report.each(make, None, [{"number": number} for number in (1, 2, 3)], "numbers")
    assert seen == [0, 1, 2]
