import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.experiments.scale.throughput import Options
from benchmarks.report import UsageError


@pytest.mark.parametrize("wrong", [{"batches": (0,)}, {"devices": ()}, {"size": 0}, {"checked": 0}])
def test_options_that_make_no_sense_are_sentences(wrong) -> None:
    with pytest.raises(UsageError, match=f"^--{next(iter(wrong))}: got"):
        Options(**wrong)


@pytest.mark.slow
def test_throughput_is_that_of_attacks_equal_to_those_of_a_loop(tmp_path: Path) -> None:
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    few = ["--batches", "3", "--devices", "1", "2", "--steps", "4", "--repeats", "1"]
    few += ["--dtypes", "float64", "float32"]
    assert main(["run", "throughput", *few, *files]) == 0
    report = json.loads((tmp_path / "a.json").read_text())
    double, single = report["rows"][:2], report["rows"][2:]
    assert [(row["devices"], row["batch"]) for row in double] == [(1, 3), (2, 3)]
    for row in double:
        assert row["attacks_per_second"] > 0
        assert row["difference"] < 1e-12
        assert row["certified"] < 1e-9
    assert [row["attacks_per_second"] for row in single] == [None, None]
    assert any("got float32, expected float64" in note for note in report["notes"])
    assert (tmp_path / "throughput.png").stat().st_size > 10_000
