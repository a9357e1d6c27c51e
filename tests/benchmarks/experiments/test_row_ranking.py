"""The experiment on the order of suspicious rows."""

import pytest

from benchmarks.experiments.audit import row_ranking
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
