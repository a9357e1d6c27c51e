import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.svm import SVC

from benchmarks.__main__ import main
from benchmarks.experiments.scale import scaling
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


@pytest.mark.slow
def test_scaling_times_training_and_hypergradient(tmp_path: Path) -> None:
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    options = ["--learners", "ridge", "svm", "--rows", "200", "400", "--features", "5"]
    assert main(["run", "scaling", *options, "--repeats", "1", *files]) == 0
    report = json.loads((tmp_path / "a.json").read_text())
    cases = [("ridge", 200), ("ridge", 400), ("svm", 200), ("svm", 400)]
    assert [(row["learner"], row["rows"]) for row in report["rows"]] == cases
    assert all(row["training_ms"] > 0 and row["solved"] for row in report["rows"])
    for row in report["rows"][2:]:
        assert 0 <= row["liblinear_excess"] < 5e-2
    assert "ridge: training grows as n^" in report["notes"][1]
    assert (tmp_path / "scaling.png").stat().st_size > 10_000


def test_the_exponent_is_that_of_a_power() -> None:
    rows = [{"rows": n, "ms": 3 * n**1.3} for n in (10, 100, 1000)]
    np.testing.assert_allclose(scaling.exponent(rows, "ms"), 1.3)


def test_the_excess_over_the_optimum_is_that_of_its_definition() -> None:
    train, _ = scaling.made(60, 3)
    x, y = np.asarray(train.x), np.asarray(train.y)
    exact = SVC(kernel="linear", tol=1e-10).fit(x, y)
    decisions = exact.decision_function(x)
    found = scaling.beside_liblinear(train, 1.0, decisions)
    assert 0 <= found["liblinear_excess"] < 5e-2
    objective = scaling.hinges(1.0, exact.coef_[0], decisions, y)
    slacks = np.maximum(0, 1 - y * decisions)
    np.testing.assert_allclose(objective, np.sum(exact.coef_**2) / 2 + slacks.sum())
