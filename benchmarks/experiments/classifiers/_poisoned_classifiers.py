"""What the experiments on ridge and logistic classifiers share."""

import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from attacks import poison_classifier
from benchmarks.ascents import CLASSIFIERS as ASCENT
from benchmarks.clock import warm
from benchmarks.data import Parts, Rows, Table, breast_cancer, numbered_parts, spambase
from benchmarks.options import Count, Counts, check
from benchmarks.report import Report, UsageError, band
from benchmarks.twins import CLASSIFIERS, DEFAULT, errors
from bilevel import Data, Optimized

LEARNERS = ("ridge", "logistic")
TABLES = {"breast-cancer": breast_cancer, "spam": spambase}


@dataclasses.dataclass(frozen=True)
class Options:
    """How much poison, on which rows."""

    points: Counts = (1, 2, 5, 10, 15, 20)
    """Numbers of poison points."""
    splits: Count = 10
    """Number of random splits."""
    train: Count = 100
    """Clean training rows."""
    validation: Count = 200
    """Validation rows: the attacker raises the loss on them."""
    test: Count = 269
    """Held-out test rows."""
    splits_files: tuple[Path, ...] = ()
    """Take the splits from these npz files instead."""
    steps: Count = 70
    """Steps of the attack."""

    def __post_init__(self):
        check(self)


def drawn(options: Options, table: Table) -> list[tuple[Parts, np.ndarray]]:
    """Splits, and numbers of the training rows that poison starts from: those labelled -1."""
    if options.splits_files:
        splits = [numbered_parts(path, table) for path in options.splits_files]
    else:
        splits = []
        for seed in range(options.splits):
            parts = table.split(options.train, options.validation, options.test, seed)
            attacked = np.flatnonzero(parts.train.y < 0)
            splits.append((parts, np.random.default_rng([1, seed]).permutation(attacked)))
    available = min(len(start) for _, start in splits)
    if max(options.points) > available:
        raise UsageError(
            f"--points: got {max(options.points)}, these splits have {available} starts"
        )
    return splits


def attack(kind: str, parts: Parts, start: np.ndarray, steps: int) -> Optimized:
    """Rows of the other class, moved under the label they are given."""
    rows = len(parts.train.y) + len(start)
    learner = CLASSIFIERS[kind].ours(DEFAULT, rows)
    train = Data(parts.train.x, parts.train.y)
    validation = Data(parts.validation.x, parts.validation.y)
    return poison_classifier(
        train, jnp.asarray(parts.train.x[start]), jnp.asarray(-parts.train.y[start]),
        validation, learner, steps=steps, ascent=ASCENT,
    ).climb()  # fmt: skip


def judge(kind: str, parts: Parts, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Errors of scikit-learn's classifier of the clean rows and these, on validation and test."""
    return errors(CLASSIFIERS[kind].theirs(DEFAULT), parts, Rows(x, y))


def make_rows(options: Options, data: str, learner: str, points: int, split: int) -> dict[str, Any]:
    """The row of a learner, number of points and split."""
    parts, start = drawn(options, TABLES[data]())[split]
    start = start[:points]
    result, cpu, compiling = warm(lambda: attack(learner, parts, start, options.steps))
    labels = -parts.train.y[start]
    clean_val, clean_test = judge(learner, parts, parts.train.x[:0], labels[:0])
    flip_val, flip_test = judge(learner, parts, parts.train.x[start], labels)
    val, test = judge(learner, parts, np.asarray(result.z), labels)
    row = {
        "learner": learner, "points": points, "split": split, "clean_val_err": clean_val,
        "clean_test_err": clean_test, "flip_val_err": flip_val, "flip_test_err": flip_test,
        "val_err": val, "test_err": test, "cpu_seconds": cpu, "compile_seconds": compiling,
    }  # fmt: skip
    return {"rows": [row]}


def run_on(data: str, options: Options, report: Report) -> None:
    """One row per learner, number of points and split."""
    splits = range(len(drawn(options, TABLES[data]())))
    units = [
        {"data": data, "learner": kind, "points": points, "split": split}
        for kind in LEARNERS
        for points in options.points
        for split in splits
    ]
    report.each(make_rows, options, units, data)
    for kind in LEARNERS:
        for points in options.points:
            rows = [r for r in report.rows if (r["learner"], r["points"]) == (kind, points)]
            report.note(
                f"{kind}, {points:2} points, errors in per cent, {len(rows)} splits: "
                + ", ".join(
                    f"{what} {band([100 * r[cell] for r in rows])}"
                    for what, cell in (
                        ("validation", "val_err"), ("test", "test_err"),
                        ("flipped and not moved", "flip_test_err"), ("clean", "clean_test_err"),
                    )
                )
            )  # fmt: skip
    if report.out is not None:
        from benchmarks.pictures.classifiers import draw

        report.figure(data, draw(data, options.train, report.rows))
