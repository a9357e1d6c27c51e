"""Influence of rows beside training without them: the derivative, and two Newton steps.

For rows of the training part of a table, chosen at random: what leaving one out adds to the mean
log loss on other rows, by scikit-learn trained without it, by the derivative in the row's weight
(Koh & Liang 2017), and by two Newton steps of the problem without the row. Printed are
correlations, and the errors as shares of the exact changes.
"""

import dataclasses
from typing import Annotated, Any

import numpy as np

from benchmarks.options import SOME, Count, check
from benchmarks.report import Report, band
from benchmarks.rows import column
from defenses.data_audit import influence_pairs, leave_one_out
from defenses.data_audit.ingest import ingest
from defenses.data_audit.judge import Rows, parts_of
from defenses.data_audit.match import match
from defenses.data_audit.reading import read

from .row_ranking import Name, table


@dataclasses.dataclass(frozen=True)
class Options:
    """Tables and sizes."""

    tables: Annotated[tuple[Name, ...], SOME] = (
        "breast-cancer", "wine", "digits", "parity", "diabetes", "synthetic",
    )  # fmt: skip
    """Which rows; the last two of all names are downloaded or local: ask for them by name."""
    left_out: Count = 100
    """Rows that are left out, one at a time, or all if there are fewer."""
    splits: Count = 10
    """Number of random splits."""

    def __post_init__(self):
        check(self)


def run(options: Options, report: Report) -> None:
    """One row per table and split."""
    units = [
        {"name": name, "split": split} for name in options.tables for split in range(options.splits)
    ]
    report.each(make_rows, options, units, "leave-one-out")
    for name in options.tables:
        cells = [
            f"{what} {band(column(report.rows, f'{what}_correlation', table=name), 5)}, off by "
            f"{band([100 * e for e in column(report.rows, f'{what}_error', table=name)])} %"
            for what in ("derivative", "newton")
        ]
        report.note(f"{name}, correlation with training anew: {'; '.join(cells)}")


def make_rows(options: Options, name: str, split: int) -> dict[str, list]:
    """The correlations on a table and split."""
    ready = ingest(read(table(name)), "y", seed=split)
    parts, classes = parts_of(ready, split), len(ready.classes)
    train, held = parts.train, parts.choose
    twin = match("auto", ready.task, classes, train.x.shape).twin
    model, rows = twin().fit(train.x, train.y), (train.x, train.y, held.x, held.y)
    which = np.random.default_rng(split).permutation(train.y.size)[: options.left_out]
    without = [np.arange(train.y.size) != row for row in which]
    whole = mean_loss(model, held)
    exact = np.array([
        mean_loss(twin().fit(train.x[kept], train.y[kept]), held) - whole for kept in without
    ])  # fmt: skip
    found = {
        "derivative": influence_pairs(model, *rows, np.float64).value,
        "newton": leave_one_out(model, *rows),
    }
    cells = {}
    for what, pairs in found.items():
        change = pairs.mean(axis=1)[which]
        cells[f"{what}_correlation"] = float(np.corrcoef(change, exact)[0, 1])
        cells[f"{what}_error"] = float(np.linalg.norm(change - exact) / np.linalg.norm(exact))
    return {"rows": [{"table": name, "split": split, "rows": int(train.y.size), **cells}]}


def mean_loss(model: Any, rows: Rows) -> float:
    """The mean log loss of scikit-learn's model."""
    own = np.searchsorted(model.classes_, rows.y)
    return -float(np.mean(model.predict_log_proba(rows.x)[np.arange(own.size), own]))
