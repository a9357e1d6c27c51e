"""The worst error that attacks found on a table, beside the bound that no attack exceeds.

At each share of poison the audit's attacks are judged (rows added along the hypergradient, rows
added and not moved, labels changed by it), and the error after any attack of as many rows is
bounded. Truth lies between: the ratio of bound and found says how wide that is. The bound moves
each test row as far as it can be moved by itself, and bounds the curvature of the logistic loss by
the largest move of each training row; so it is wide where rows have little in common.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import jax
import numpy as np

from benchmarks.options import FRACTION, SOME, Count, check
from benchmarks.report import Report
from benchmarks.rows import where
from defenses.data_audit.attacker import CELLS, Attacker, sample_of
from defenses.data_audit.damage import found
from defenses.data_audit.influence import influence, other_labels
from defenses.data_audit.ingest import ingest
from defenses.data_audit.judge import Judge, parts_of
from defenses.data_audit.match import match
from defenses.data_audit.reading import read

from .row_ranking import Name, table

Learner = Literal["logistic", "ridge"]


@dataclasses.dataclass(frozen=True)
class Options:
    """Tables, learners, shares of poison."""

    tables: Annotated[tuple[Name, ...], SOME] = ("breast-cancer", "parity", "diabetes", "synthetic")
    """Which rows, of two classes; spam and adult are downloaded or local: ask for them by name."""
    learners: Annotated[tuple[Learner, ...], SOME] = ("logistic", "ridge")
    """Which learners."""
    shares: Annotated[tuple[Annotated[float, FRACTION], ...], SOME] = (0.01, 0.03)
    """Shares of poison, of the training rows."""
    reach: Literal["observed", "labels"] = "observed"
    """Of the attacker: rows within the ranges seen in the table, and labels, or labels alone."""
    splits: Count = 10
    """Number of random splits."""

    def __post_init__(self):
        check(self)


def run(options: Options, report: Report) -> None:
    """One row per table, learner, split and share."""
    units = [
        {"name": name, "learner": learner, "split": split}
        for name in options.tables
        for learner in options.learners
        for split in range(options.splits)
    ]
    report.each(make_rows, options, units, "certified-found")
    _notes(options, report)


def _notes(options: Options, report: Report) -> None:
    for learner in options.learners:
        for share in options.shares:
            rows = where(report.rows, learner=learner, share=share)
            bounded = [row for row in rows if row["certified_err"] is not None]
            text = f"{learner}, {share:.0%} poison: a bound below 100 % in {len(bounded)} of "
            text += f"{len(rows)} splits"
            if bounded:
                texts = (
                    f"{of} {', '.join(f'{q:.1f}' for q in _quartiles(bounded, of))}"
                    for of in ("error", "damage")
                )
                text += f"; bound / found, quartiles: {'; '.join(texts)}"
            report.note(text)


def _quartiles(rows: Sequence[Mapping[str, Any]], of: str) -> np.ndarray:
    """Quartiles of certified over found: of the error, or of what it is above the clean one."""
    base = [row["clean_err"] if of == "damage" else 0.0 for row in rows]
    ratios = [
        (row["certified_err"] - b) / (row["found_err"] - b) if row["found_err"] > b else np.inf
        for row, b in zip(rows, base, strict=True)
    ]
    return np.quantile(ratios, (0.25, 0.5, 0.75), method="nearest")


def make_rows(options: Options, name: str, learner: Learner, split: int) -> dict[str, list]:
    """What was found and what is certified at each share, on a table and split."""
    with jax.enable_x64(True):
        ready = ingest(read(table(name)), "y", seed=split)
        parts, classes = parts_of(ready, split), len(ready.classes)
        shape = parts.train.x.shape
        matched = match(learner, ready.task, classes, shape)
        judge = Judge(ready, matched)
        moved = influence(
            matched, parts.train, parts.choose, other_labels(matched, parts.train, classes)
        )
        counts = [max(1, round(share * shape[0])) for share in options.shares]
        sample = sample_of(ready, parts, split, CELLS)
        attacker = Attacker(ready, matched, sample, max(counts), split, moved)
        at = found(
            judge, parts, attacker, moved, counts, options.shares, 0, options.reach, split,
            lambda text: None,
        )  # fmt: skip
        clean = judge.error(judge.fit(parts.train), parts.test)
    made = [
        {
            "table": name, "learner": learner, "split": split, "share": budget.share,
            "rows": budget.rows, "clean_err": clean, "found_err": budget.found,
            "attack": budget.attack,
            "certified_err": None if budget.certified == 1 else budget.certified,
        }
        for budget in at.budgets
    ]  # fmt: skip
    return {"rows": made}
