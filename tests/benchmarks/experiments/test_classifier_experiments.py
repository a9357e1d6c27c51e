"""The experiments on classifiers of real tables, and the targeted attack on digits."""

import dataclasses
import json
from pathlib import Path

import pytest

import benchmarks.experiments.classifiers._poisoned_classifiers as classifiers
import benchmarks.experiments.classifiers.targeted_mnist as targeted_mnist
from benchmarks.__main__ import main
from benchmarks.data import breast_cancer
from benchmarks.experiments.classifiers import spam
from benchmarks.report import Report, UsageError


@pytest.mark.slow
def test_poison_beats_flips_on_both_classifiers(tmp_path: Path) -> None:
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    assert main(["run", "breast-cancer", "--points", "8", "--splits", "2", *files]) == 0
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert [(r["learner"], r["split"]) for r in rows] == [
        ("ridge", 0), ("ridge", 1), ("logistic", 0), ("logistic", 1),
    ]  # fmt: skip
    for row in rows:
        assert row["val_err"] > row["flip_val_err"] > row["clean_val_err"]
        assert row["test_err"] > row["clean_test_err"]
    assert (tmp_path / "breast-cancer.png").stat().st_size > 10_000


@pytest.mark.parametrize("options", [classifiers.Options, spam.Options])
@pytest.mark.parametrize("wrong", [{"points": (0,)}, {"points": ()}, {"splits": 0}, {"test": 0}])
def test_options_of_classifiers_that_make_no_sense_are_sentences(options, wrong) -> None:
    with pytest.raises(UsageError, match=f"^--{next(iter(wrong))}: got"):
        options(**wrong)


def test_more_points_than_starts_are_a_sentence() -> None:
    options = classifiers.Options(points=(60,), splits=1)
    with pytest.raises(UsageError, match=r"^--points: got 60, these splits have \d+ starts"):
        classifiers.drawn(options, breast_cancer())


@pytest.mark.parametrize(
    "wrong",
    [{"rate": 1.0}, {"source": 3}, {"keeps": ()}, {"steps": 0}, {"train": 4000}, {"l2": 0.0}],
)
def test_options_of_the_targeted_attack_that_make_no_sense_are_sentences(wrong) -> None:
    with pytest.raises(UsageError, match=f"--{next(iter(wrong))}"):
        targeted_mnist.Options(**wrong)


@pytest.mark.slow
def test_eights_become_threes_and_little_else_changes(tmp_path: Path) -> None:
    options = dataclasses.replace(
        targeted_mnist.Options(), keeps=(0.2,), splits=1, steps=40, train=600
    )
    report = Report("targeted-mnist", options, out=tmp_path)
    targeted_mnist.run(options, report)
    (row,) = report.rows
    assert row["success"] > 1.5 * row["flip_success"] > row["clean_success"]
    assert row["rest_err"] < row["clean_rest_err"] + 0.05
    assert (tmp_path / "targeted-mnist.png").stat().st_size > 10_000
