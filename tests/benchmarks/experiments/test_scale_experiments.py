import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.svm import SVC

from benchmarks.__main__ import main
from benchmarks.experiments.scale import restarts, scaling
from benchmarks.experiments.scale.throughput import Options
from benchmarks.processes import risen
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
    assert all(row["planned_of_data"] > 1 for row in report["rows"])
    for row in report["rows"][2:]:
        assert 0 <= row["liblinear_excess"] < 5e-2
    assert "ridge: training grows as n^" in report["notes"][1]
    assert (tmp_path / "scaling.png").stat().st_size > 10_000


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="it takes Linux")
def test_the_rise_of_memory_is_that_of_the_peak_not_of_the_end() -> None:
    np.ones(2**24)  # an earlier peak, of 128 MiB
    small, large = (risen(lambda n=n: np.ones(n * 2**17).sum()) for n in (8, 64))
    assert small is not None
    assert large is not None
    assert 50 < (large - small) / 2**20 < 70


@pytest.mark.parametrize("k", [1, 2, 4, 7])
def test_the_best_of_k_is_the_mean_over_all_sets(k: int) -> None:
    rng = np.random.default_rng(0)
    values, by = rng.normal(size=7), rng.permutation(7)
    sets = [max(some, key=lambda i: by[i]) for some in itertools.combinations(range(7), k)]
    np.testing.assert_allclose(restarts.best_of(values, by, k), np.mean(values[sets]))
    np.testing.assert_allclose(
        restarts.best_of(values, values, k),
        np.mean([max(some) for some in itertools.combinations(values, k)]),
    )


def test_starts_are_different_digits_of_the_attacked_class_and_none_is_a_test_digit() -> None:
    split, starts = restarts.begin(restarts.Options(), 3)
    assert len(np.unique(starts, axis=0)) == 256
    own = np.concatenate([rows.x[rows.y < 0] for rows in (split.train, split.validation)])
    every = {row.tobytes() for row in own}
    assert all(row.tobytes() in every for row in starts)
    assert not every & {row.tobytes() for row in split.test.x}
    with pytest.raises(UsageError, match="--starts: got 999, expected at most"):
        restarts.begin(restarts.Options(starts=999), 0)


@pytest.mark.slow
def test_restarts_report_the_best_of_the_moved_and_of_the_unmoved(tmp_path: Path) -> None:
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    few = ["--starts", "6", "--splits", "0", "1", "--steps", "4"]
    assert main(["run", "restarts", *few, *files]) == 0
    report = json.loads((tmp_path / "a.json").read_text())
    assert [(row["learner"], row["split"], row["starts"]) for row in report["rows"]] == [
        (kind, split, k) for kind in ("svm", "logistic") for split in (0, 1) for k in (1, 2, 4, 6)
    ]
    for first, last in zip(report["rows"][::4], report["rows"][3::4], strict=True):
        assert first["clean_loss"] < first["start_loss"] < last["start_loss"] < last["loss"]
        assert first["start_loss"] < first["loss"] < last["loss"]
        assert last["test_err"] <= last["bound_err"]
        assert first["test_err"] == pytest.approx(first["bound_err"])
    assert (tmp_path / "restarts.png").stat().st_size > 20_000


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
