"""Which rows look wrong: the order of the data audit beside others', where poison was planted.

Rows added along the hypergradient, labels changed by it, or labels flipped at random are planted
into a whole table; each method orders all rows, most suspicious first, and its area under the ROC
curve says how well poison comes first. The label scores are cleanlab's formulas (Northcutt et al.
2021; Kuan & Mueller 2022) on out-of-fold probabilities of the same logistic regression that the
audit uses; they and the audit see labels, the others see features alone.
"""

import dataclasses
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import sklearn.datasets as bundled
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from benchmarks.data.adult import adult_frame
from benchmarks.data.uci import spambase
from benchmarks.options import FRACTION, SOME, Count, check
from benchmarks.report import Report, band
from benchmarks.rows import where
from defenses.data_audit.attacker import CELLS, Attacker, flips, random_mistakes, sample_of
from defenses.data_audit.influence import influence, other_labels
from defenses.data_audit.ingest import Table, ingest
from defenses.data_audit.judge import Judge, Poison, Rows, parts_of
from defenses.data_audit.match import Match, match
from defenses.data_audit.ranking import Doubts
from defenses.data_audit.reading import read

Name = Literal[
    "breast-cancer", "wine", "digits", "parity", "diabetes", "synthetic", "spam", "adult"
]
METHODS = ("audit", "self-confidence", "margin", "isolation-forest", "lof", "neighbours")
ROUNDS = 2
MOST = 2000
"""Rows of the two tables that are downloaded."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Tables, poison and sizes."""

    tables: Annotated[tuple[Name, ...], SOME] = (
        "breast-cancer", "wine", "digits", "parity", "diabetes", "synthetic",
    )  # fmt: skip
    """Which rows; the last two of all names are downloaded or local: ask for them by name."""
    rate: Annotated[float, FRACTION] = 0.03
    """Share of poison, of all rows."""
    flipped: Annotated[float, FRACTION] = 0.1
    """Share of labels flipped at random."""
    splits: Count = 10
    """Number of random splits into what the attacker knows."""
    folds: Count = 5
    """Folds of the label scores' probabilities: cleanlab's default; the audit has ten."""

    def __post_init__(self):
        check(self)


def table(name: str) -> pd.DataFrame:
    """A table with the target `y`."""
    if name == "adult":
        return adult_frame().rename(columns={"label": "y"}).sample(MOST, random_state=0)
    if name == "spam":
        data: Any = spambase()
        some = np.random.default_rng(0).permutation(data.y.size)[:MOST]
        x, y = data.x[some], data.y[some]
    elif name == "synthetic":
        x, y = bundled.make_classification(800, 12, n_informative=6, random_state=0)
    else:
        load: Any = getattr(
            bundled, f"load_{ {'parity': 'digits'}.get(name, name.replace('-', '_')) }"
        )
        x, y = load(return_X_y=True)
        y = y % 2 if name == "parity" else y > np.median(y) if name == "diabetes" else y
    return pd.DataFrame(np.asarray(x)).rename(columns=str).assign(y=np.asarray(y))


def run(options: Options, report: Report) -> None:
    """One row per table, split, kind of poison and method."""
    units = [
        {"name": name, "split": split}
        for name in options.tables
        for split in range(1, options.splits + 1)
    ]
    report.each(make_rows, options, units, "row-ranking")
    _notes(options, report)


def make_rows(options: Options, name: str, split: int) -> dict[str, list]:
    """The areas under the curve of all methods on a table and split."""
    ready = ingest(read(table(name)), "y", seed=split)
    parts, classes = parts_of(ready, split), len(ready.classes)
    matched = match("auto", ready.task, classes, parts.train.x.shape)
    moved = influence(
        matched, parts.train, parts.choose, other_labels(matched, parts.train, classes)
    )
    many = max(1, round(options.rate * ready.number.size))
    attacker = Attacker(ready, matched, sample_of(ready, parts, split, CELLS), many, split, moved)
    clean = Rows(ready.encoding.x, ready.encoding.y, ready.weight, np.arange(ready.number.size))
    (changed,) = flips(moved, (many,), ROUNDS)
    assert changed.changed is not None
    where_changed = parts.train.like[changed.changed[0]], changed.changed[1]
    planted = {
        "added": attacker.climb(many)[0],
        "changed": Poison("changed", None, where_changed),
        "random": random_mistakes(clean, round(options.flipped * clean.y.size), classes, split),
    }
    judge = Judge(ready, matched)
    errors = {
        "added": _error(judge, planted["added"], parts), "changed": _error(judge, changed, parts),
    }  # fmt: skip
    made = []
    for kind, poison in planted.items():
        rows, bad = poison.into(clean), poison.places(clean)
        for method, score in scores(ready, matched, rows, split, options.folds).items():
            made.append({
                "table": name, "split": split, "poison": kind, "method": method,
                "auc": float(roc_auc_score(bad, score)), "poisoned_err": errors.get(kind),
            })  # fmt: skip
    return {"rows": made}


def _error(judge: Judge, poison: Poison, parts: Any) -> float:
    return judge.error(judge.fit(poison.into(parts.train)), parts.test)


def scores(
    ready: Table, matched: Match, rows: Rows, seed: int, parts: int
) -> dict[str, np.ndarray]:
    """Of each method, larger is more suspicious. `parts`: folds of the label scores."""
    classes, own = np.unique(rows.y, return_inverse=True)
    doubts = Doubts(rows.x, rows.y, rows.weight, matched, len(ready.classes), seed)
    folds = StratifiedKFold(parts, shuffle=True, random_state=seed)
    told: Any = cross_val_predict(matched.twin(), rows.x, rows.y, cv=folds, method="predict_proba")
    mine = told[np.arange(own.size), own]
    others = np.where(np.arange(classes.size) == own[:, None], -1, told).max(axis=1)
    near = NearestNeighbors(n_neighbors=11).fit(rows.x).kneighbors(rows.x)[0][:, 1:]
    forest = IsolationForest(random_state=seed).fit(rows.x)
    found = (
        doubts.ordered(doubts.without_the_worst()[0]), 1 - mine, others - mine,
        -forest.score_samples(rows.x), -LocalOutlierFactor().fit(rows.x).negative_outlier_factor_,
        near.mean(axis=1),
    )  # fmt: skip
    return dict(zip(METHODS, found, strict=True))


def _notes(options: Options, report: Report) -> None:
    for kind in ("added", "changed", "random"):
        cells, won = [], 0
        for name in options.tables:
            means = {}
            for method in METHODS:
                found = where(report.rows, table=name, poison=kind, method=method)
                means[method] = [row["auc"] for row in found]
            rival = max(METHODS[1:], key=lambda method: float(np.mean(means[method])))
            won += np.mean(means["audit"]) >= np.mean(means[rival])
            cells.append(f"{name} {band(means['audit'], 3)} ({rival} {band(means[rival], 3)})")
        report.note(
            f"{kind}, area under the ROC curve of the audit's order (of the best other): "
            f"{', '.join(cells)}; at least the best other on {won} of {len(options.tables)} tables"
        )
