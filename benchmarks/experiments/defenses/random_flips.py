"""Random flips: what the defenses of classifiers do at their defaults where labels are wrong by
chance, and where none is.

Tables are scikit-learn's own, so that nothing is read from disk. Each defense wraps the same
logistic regression of scaled columns, and is told nothing of the flips. Beside the test error with
and without it stand the strength that the defense chose, and whether it says itself that it made
the model worse.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
import sklearn.datasets as bundled
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.options import FRACTION, SOME, Count, check
from benchmarks.report import Report
from benchmarks.rows import where
from defenses import estimators

Name = Literal["breast-cancer", "wine", "iris", "digits", "parity", "diabetes"]
Defense = Literal[
    "trim", "sever", "filter", "relabel", "micro-models", "confident-learning", "duplicates", "roni"
]
DEFENSES: dict[str, Callable[[Any], Any]] = {
    "trim": estimators.TrimClassifier,
    "sever": estimators.SeverClassifier,
    "filter": estimators.FilterClassifier,
    "relabel": estimators.RelabelClassifier,
    "micro-models": estimators.MicroModelsClassifier,
    "confident-learning": estimators.ConfidentLearningClassifier,
    "duplicates": estimators.DuplicatesClassifier,
    "roni": lambda inner: estimators.RoniClassifier(inner, random_state=0),
}
HARM = 0.005
"""A rise of the mean test error that counts as harm."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Tables, defenses, rates and sizes."""

    tables: Annotated[tuple[Name, ...], SOME] = (
        "breast-cancer",
        "wine",
        "iris",
        "digits",
        "parity",
        "diabetes",
    )
    """Which rows: parity of the digits; diabetes that progresses beyond the median or not."""
    defenses: Annotated[tuple[Defense, ...], SOME] = (
        "trim",
        "sever",
        "filter",
        "relabel",
        "micro-models",
        "confident-learning",
        "duplicates",
    )
    """Which defenses, at their defaults. RONI trains ten models a row: ask for it by name."""
    rates: Annotated[tuple[float, ...], FRACTION] = (0.0, 0.1)
    """Shares of the training labels that are flipped, each to another class, at random."""
    splits: Count = 10
    """Number of random splits."""
    train: Count = 400
    """Training rows at most; otherwise 60 % of the table."""

    def __post_init__(self):
        check(self)


def table(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels of one of scikit-learn's tables."""
    load: Any = getattr(bundled, f"load_{ {'parity': 'digits'}.get(name, name.replace('-', '_')) }")
    x, y = load(return_X_y=True)
    if name == "diabetes":
        y = y > np.median(y)
    return x, (y % 2 if name == "parity" else y).astype(int)


def flipped(y: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Labels, of which this share is changed to another class each."""
    classes = np.unique(y).size
    some = rng.permutation(y.size)[: round(rate * y.size)]
    y = y.copy()
    y[some] = (y[some] + rng.integers(1, classes, some.size)) % classes
    return y


def run(options: Options, report: Report) -> None:
    """One row per table, rate, split and defense."""
    units = [
        {"name": name, "rate": rate, "split": split}
        for name in options.tables
        for rate in options.rates
        for split in range(options.splits)
    ]
    report.each(make_rows, options, units, "random-flips")
    _notes(options, report)


def make_rows(options: Options, name: str, rate: float, split: int) -> dict[str, list]:
    """The rows of all defenses on a table, rate and split."""
    x, y = table(name)
    rows = min(options.train, round(0.6 * y.size))
    parts: Any = train_test_split(x, y, train_size=rows, stratify=y, random_state=split)
    x, x_test, y, y_test = parts
    told = flipped(y, rate, np.random.default_rng([split, round(1e4 * rate)]))

    def error(model) -> float:
        return float(
            np.mean(make_pipeline(StandardScaler(), model).fit(x, told).predict(x_test) != y_test)
        )

    plain = error(LogisticRegression(max_iter=1000))
    made = []
    for kind in options.defenses:
        defense, began = DEFENSES[kind](LogisticRegression(max_iter=1000)), time.process_time()
        test_err = error(defense)
        made.append({
            "table": name, "rate": rate, "split": split, "defense": kind, "plain_err": plain,
            "test_err": test_err,
            "changed_share": float(np.mean(~defense.support_mask_ | defense.relabelled_)),
            "chosen": defense.chosen_, "says_worse": "worse" in defense.message_,
            "seconds": time.process_time() - began,
        })  # fmt: skip
    return {"rows": made}


def _notes(options: Options, report: Report) -> None:
    for rate in options.rates:
        for kind in options.defenses:
            cells, harmed = [], 0
            for name in options.tables:
                rows = where(report.rows, table=name, rate=rate, defense=kind)
                rises = np.array([row["test_err"] - row["plain_err"] for row in rows])
                told = sum(row["says_worse"] for row in rows)
                band = np.std(rises) / len(rises) ** 0.5
                cells.append(
                    f"{name} {100 * rises.mean():+.1f} +- {100 * band:.1f}"
                    + (f" (says so in {told})" if told else "")
                )
                harmed += rises.mean() > HARM
            changed = np.mean(
                [r["changed_share"] for r in where(report.rows, rate=rate, defense=kind)]
            )
            report.note(
                f"{100 * rate:g} % flips, {kind}: changes {100 * changed:.0f} % of the rows; test "
                f"error in points more, mean and standard error of {options.splits} splits: "
                f"{', '.join(cells)}; more than {100 * HARM:g} on {harmed}"
            )
