"""The experiments on the order of suspicious rows, and on leaving rows out."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from benchmarks.experiments.audit import leave_one_out, row_ranking
from benchmarks.experiments.audit.row_ranking import table
from benchmarks.report import Report

OPTIONS = row_ranking.Options(tables=("wine",), splits=1)


@pytest.mark.slow
def test_every_method_orders_the_rows_of_every_kind_of_poison() -> None:
    report = Report("row-ranking", OPTIONS)
    row_ranking.run(OPTIONS, report)
    cells = {(row["poison"], row["method"]): row["auc"] for row in report.rows}
    assert len(cells) == len(report.rows) == 3 * len(row_ranking.METHODS)
    assert cells["random", "audit"] > 0.9 > cells["random", "isolation-forest"]
    assert all(0 <= auc <= 1 for auc in cells.values())
    assert report.notes[2].startswith("random, area under the ROC curve of the audit's order")


def test_steps_are_nearer_to_training_anew_than_the_derivative() -> None:
    options = leave_one_out.Options(tables=("diabetes",), left_out=30, splits=1)
    report = Report("leave-one-out", options)
    leave_one_out.run(options, report)
    (row,) = report.rows
    assert row["rows"] == 265
    assert row["newton_correlation"] > 0.99999 > row["derivative_correlation"] > 0.99
    assert row["newton_error"] < 1e-3 < 0.01 < row["derivative_error"] < 0.1
    assert report.notes[0].startswith("diabetes, correlation with training anew: derivative 0.99")


def test_targets_are_those_of_the_tables_and_of_halves_of_two():
    assert sorted(set(table("digits")["y"])) == list(range(10))
    assert sorted(set(table("parity")["y"])) == [0, 1]
    _, numbers = load_diabetes(return_X_y=True)
    np.testing.assert_array_equal(table("diabetes")["y"], numbers > np.median(numbers))
