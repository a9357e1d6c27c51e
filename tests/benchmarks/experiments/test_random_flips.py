"""The experiment on labels that are flipped at random."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from benchmarks.experiments.defenses import random_flips
from benchmarks.report import Report, UsageError
from defenses import estimators

OPTIONS = random_flips.Options(
    tables=("iris",), defenses=("duplicates", "relabel"), rates=(0.0, 0.2), splits=2
)


def rows_of(report: Report) -> list:
    random_flips.run(OPTIONS, report)
    return [{k: v for k, v in row.items() if k != "seconds"} for row in report.rows]


def test_every_cell_is_judged() -> None:
    report = Report("random-flips", OPTIONS)
    first = rows_of(report)
    assert [(r["rate"], r["split"], r["defense"]) for r in first] == [
        (rate, split, kind)
        for rate in (0.0, 0.2) for split in (0, 1) for kind in ("duplicates", "relabel")
    ]  # fmt: skip
    for row in first:
        assert row["plain_err"] < 0.2
        assert row["says_worse"] in (True, False)
        assert 0 <= row["changed_share"] < 0.3
    note = report.notes[0]
    assert note.startswith("0 % flips, duplicates: changes ")
    assert "of 2 splits: iris +0.0 +- 0.0" in note


def test_rows_that_are_dropped_or_relabelled_are_changed(monkeypatch) -> None:
    strong = {
        "trim": lambda inner: estimators.TrimClassifier(inner, 0.1),
        "relabel": lambda inner: estimators.RelabelClassifier(inner, agreement=0.5),
    }
    monkeypatch.setattr(random_flips, "DEFENSES", strong)
    options: Any = dataclasses.replace(OPTIONS, defenses=tuple(strong))
    made = random_flips.make_rows(options, "iris", 0.2, 0)["rows"]
    trim, relabel = (row["changed_share"] for row in made)
    assert trim == pytest.approx(0.1)
    assert relabel > 0.1


def test_labels_of_test_rows_change_test_errors_alone(monkeypatch) -> None:
    first = rows_of(Report("random-flips", OPTIONS))
    split = random_flips.train_test_split

    def permuted(*args, **how):
        x, x_test, y, y_test = split(*args, **how)
        return x, x_test, y, np.random.default_rng(0).permutation(y_test)

    monkeypatch.setattr(random_flips, "train_test_split", permuted)
    other = rows_of(Report("random-flips", OPTIONS))
    errors = {"plain_err", "test_err"}
    for one, two in zip(first, other, strict=True):
        assert {k: v for k, v in one.items() if k not in errors} == {
            k: v for k, v in two.items() if k not in errors
        }
        assert all(two[e] > one[e] + 0.2 for e in errors)


def test_flips_are_as_many_as_asked_and_none_keeps_its_class() -> None:
    y = np.arange(200) % 3
    told = random_flips.flipped(y, 0.15, np.random.default_rng(0))
    assert np.sum(told != y) == 30
    assert set(told) == {0, 1, 2}
    assert {name: np.unique(random_flips.table(name)[1]).size for name in OPTIONS.tables} == {
        "iris": 3
    }
    assert np.unique(random_flips.table("parity")[1]).tolist() == [0, 1]
    assert np.bincount(random_flips.table("diabetes")[1]).tolist() == [221, 221]


def test_notes_have_the_mean_and_its_standard_error_and_count_harm() -> None:
    report = Report("a", options := random_flips.Options(tables=("iris",), defenses=("relabel",)))
    for rate, more in ((0.0, (0.01, 0.03, 0.05, 0.07)), (0.1, (-0.02, -0.02, 0.02, 0.02))):
        for split, rise in enumerate(more):
            report.row(
                table="iris", rate=rate, split=split, defense="relabel", plain_err=0.25,
                test_err=0.25 + rise, changed_share=0.1 * split, says_worse=split == 3,
            )  # fmt: skip
    random_flips._notes(options, report)
    assert "changes 15 % of the rows" in report.notes[0]
    assert report.notes[0].endswith("iris +4.0 +- 1.1 (says so in 1); more than 0.5 on 1")
    assert report.notes[1].endswith("iris +0.0 +- 1.0 (says so in 1); more than 0.5 on 0")


@pytest.mark.parametrize("wrong", [{"splits": 0}, {"rates": (1.0,)}, {"tables": ()}, {"train": 0}])
def test_impossible_options_are_sentences(wrong) -> None:
    with pytest.raises(UsageError, match=f"^--{next(iter(wrong))}: got"):
        random_flips.Options(**wrong)
