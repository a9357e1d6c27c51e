"""Label sanitisation by nearest neighbours: flipped labels with it and without, by attackers that
know it and that do not.

Paudice, Munoz-Gonzalez & Lupu, "Label sanitization against label flipping poisoning attacks", 2018.
An attack that knows the defense differs in one line: it is the same greedy attack on
`Relabel(learner)`. One flip changes few of its votes; it changes all votes of the smooth
`SoftRelabel(learner)`. Errors are those of scikit-learn's models, trained anew on the flipped or
sanitised labels; features are standardised by the training rows.
"""

import dataclasses
import functools
from typing import Annotated, Literal

import jax
import numpy as np

from attacks import LabelFlips, flip_greedy, flip_random
from benchmarks.clock import warm
from benchmarks.data import Parts, breast_cancer
from benchmarks.options import (
    SOME,
    Count,
    Counts,
    Positive,
    between,
    check,
    refuse,
    require,
)
from benchmarks.report import Report, band
from benchmarks.twins import CLASSIFIERS, Strengths, misclassified, retrained
from bilevel import Data
from bilevel.learners import AbstractLearner
from defenses import Relabel

ATTACKS = ("random", "unaware", "aware", "soft")
"""At random; greedy on the learner, on `Relabel(learner)`, on `SoftRelabel(learner)`."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Which learners, how many flips, and how neighbours vote."""

    learners: Annotated[tuple[Literal["logistic", "svm"], ...], SOME] = ("logistic", "svm")
    """Which classifiers; the SVM is linear."""
    budgets: Counts = (4, 8, 12, 16, 20)
    """Numbers of flipped labels."""
    splits: Count = 10
    """Number of random splits."""
    train: Count = 100
    """Training rows."""
    validation: Count = 100
    """Validation rows: the attacker raises the loss on them."""
    test: Count = 369
    """Held-out test rows."""
    C: Positive = 1.0
    """Weight of the rows, as scikit-learn counts it."""
    k: Count = 10
    """Neighbours that vote on a label."""
    agreement: Annotated[float, between(0.5, 1)] = 0.5
    """Share of the votes that the commonest label needs."""
    tie: float = 0.0
    """Label that wins an even vote: -1 or +1; 0 for the one that a row has."""

    def __post_init__(self):
        check(self)
        require(self, "budgets", between(1, self.train))
        if self.tie not in (-1, 0, 1):
            refuse("tie", self.tie, "-1, 0 or 1")


def learner(kind: str, options: Options) -> AbstractLearner:
    """Ours, with the strength of scikit-learn's."""
    return CLASSIFIERS[kind].ours(Strengths(C=options.C), options.train)


def test_error(kind: str, options: Options, data: Data, test: Data) -> float:
    """Of scikit-learn's model; where all labels are one, so are all predictions."""
    model = CLASSIFIERS[kind].theirs(Strengths(C=options.C))
    return misclassified(retrained(model, data), test)


def standardised(parts: Parts) -> list[Data]:
    """Training, validation and test rows, by mean and deviation of the training rows."""
    mean, scale = parts.train.x.mean(0), parts.train.x.std(0)
    return [Data((rows.x - mean) / np.where(scale > 0, scale, 1), rows.y) for rows in parts]


def make_rows(options: Options, kind: str, split: int) -> dict[str, list]:
    """The rows of all budgets on a learner and split."""
    largest = max(options.budgets)
    train, validation, test = standardised(
        breast_cancer().split(options.train, options.validation, options.test, split)
    )
    plain, vote = learner(kind, options), (options.k, options.agreement, options.tie)
    defended = Relabel(plain, *vote, balance=0)  # as published
    targets = {"unaware": plain, "aware": defended, "soft": defended.surrogate(train)}
    results = {"random": flip_random(jax.random.key(split), train, largest, validation, plain)}
    cpu, rows = {}, []
    for name, target in targets.items():
        attack = functools.partial(flip_greedy, train, largest, validation, target)
        results[name], cpu[name], _ = warm(attack)
    clean = _errors(kind, options, train, defended, test)
    for budget in options.budgets:
        cells = {"clean_err": clean[0], "clean_defended_err": clean[1]}
        cells |= _attacked(kind, options, results, budget, train, defended, test)
        if budget == largest:
            cells |= {f"{name}_cpu_seconds": seconds for name, seconds in cpu.items()}
        rows.append({"learner": kind, "split": split, "budget": budget, **cells})
    return {"rows": rows}


def run(options: Options, report: Report) -> None:
    """One row per learner, split and budget."""
    units = [{"kind": k, "split": s} for k in options.learners for s in range(options.splits)]
    report.each(make_rows, options, units, "label-sanitisation")
    _notes(options, report)
    if report.out is not None:
        from benchmarks.pictures.label_sanitisation import draw

        report.figure("label-sanitisation", draw(options.train, report.rows))


def _errors(
    kind: str, options: Options, data: Data, defended: Relabel, test: Data
) -> tuple[float, float]:
    """Without the defense, and with it."""
    sanitised = defended.inspect(data).data
    return test_error(kind, options, data, test), test_error(kind, options, sanitised, test)


def _attacked(
    kind: str, options: Options, results: dict[str, LabelFlips], budget: int, train: Data,
    defended: Relabel, test: Data,
) -> dict[str, float]:  # fmt: skip
    cells = {}
    for name in ATTACKS:
        flipped = results[name].flip(train, budget)
        errors = _errors(kind, options, flipped, defended, test)
        cells |= {f"{name}_err": errors[0], f"{name}_defended_err": errors[1]}
    return cells


def _notes(options: Options, report: Report) -> None:
    largest = max(options.budgets)
    for kind in options.learners:
        rows = [row for row in report.rows if (row["learner"], row["budget"]) == (kind, largest)]
        errors = ", ".join(
            f"{name} {_points(rows, f'{name}_err')} -> {_points(rows, f'{name}_defended_err')}"
            for name in ("clean", *ATTACKS)
        )
        report.note(
            f"{kind}, {largest} of {options.train} labels flipped, test error without -> with the "
            f"defense, per cent: {errors}"
        )
        left = _mean(rows, "unaware_defended_err")
        saved = _mean(rows, "unaware_err") - left
        for name in ("aware", "soft"):
            back = _mean(rows, f"{name}_defended_err") - left
            share = f"{100 * back / saved:.0f} %" if saved > 0 else "-"
            points = _points(rows, f"{name}_defended_err", less="unaware_defended_err")
            report.note(
                f"  {name}: takes back {points} points, {share} of what the defense saved from the "
                f"unaware attack; {_mean(rows, f'{name}_cpu_seconds'):.3g} CPU s, the unaware one "
                f"{_mean(rows, 'unaware_cpu_seconds'):.3g}"
            )
    report.note(
        f"each: {options.splits} splits; soft: greedy on the smooth surrogate, scored by the hard "
        "vote; where a vote leaves one label alone, all rows are predicted so"
    )


def _mean(rows: list[dict], cell: str) -> float:
    return float(np.mean([row[cell] for row in rows]))


def _points(rows: list[dict], cell: str, less: str | None = None) -> str:
    """In per cent; of each split less another cell."""
    return band([100 * (row[cell] - (row[less] if less else 0)) for row in rows])
