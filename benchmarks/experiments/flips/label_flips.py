"""Flipped labels: test error against the number of flips, and what choosing them costs.

Xiao, Xiao & Eckert, "Adversarial label flips attack on support vector machines", ECAI 2012;
Paudice, Munoz-Gonzalez & Lupu, "Label sanitization against label flipping poisoning attacks",
2018. Labels are flipped at random, greedily by retraining for every row, or among the few rows that
the hypergradient ranks highest. Errors are those of scikit-learn's models, trained anew.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Literal

import jax
import numpy as np

from attacks import LabelFlips, flip_by_hypergradient, flip_greedy, flip_random
from benchmarks.clock import warm
from benchmarks.data import Parts, Table, breast_cancer, spambase
from benchmarks.options import (
    SOME,
    Count,
    Counts,
    Positive,
    between,
    check,
    require,
)
from benchmarks.report import Report, band
from benchmarks.twins import CLASSIFIERS, Strengths, errors
from bilevel import Data
from bilevel.learners import AbstractLearner

Kind = Literal["logistic", "ridge", "svm"]
METHODS = ("random", "greedy", "ranked")


@dataclasses.dataclass(frozen=True)
class Options:
    """What to attack, and with how many flips."""

    data: Literal["breast-cancer", "spam"] = "breast-cancer"
    """Which rows; spam is spambase."""
    learners: Annotated[tuple[Kind, ...], SOME] = (
        "logistic",
        "ridge",
        "svm",
    )
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
    """Weight of the rows of the SVM and of the logistic regression, as scikit-learn counts it."""
    alpha: Positive = 1.0
    """Strength of the ridge classifier, as scikit-learn counts it."""
    verify: Count = 5
    """How many of the flips that the hypergradient ranks highest are tried, in each round."""

    def __post_init__(self):
        check(self)
        require(self, "budgets", between(1, self.train))

    @property
    def strengths(self) -> Strengths:
        return Strengths(C=self.C, alpha=self.alpha)


def learner(kind: str, options: Options) -> AbstractLearner:
    """Ours, with the strength of scikit-learn's."""
    return CLASSIFIERS[kind].ours(options.strengths, options.train)


def judge(kind: str, options: Options, parts: Parts, labels: np.ndarray) -> tuple[float, float]:
    """Shares of errors on validation and test rows of scikit-learn's model of these labels."""
    relabelled = parts._replace(train=dataclasses.replace(parts.train, y=labels))
    return errors(CLASSIFIERS[kind].theirs(options.strengths), relabelled)


def attacks_on(
    kind: str, options: Options, parts: Parts, seed: int
) -> dict[str, Callable[[], LabelFlips]]:
    """The attacks by name, each with the largest budget: what comes first serves the smaller."""
    data, held = (Data(rows.x, rows.y) for rows in (parts.train, parts.validation))
    budget, target = max(options.budgets), learner(kind, options)
    return {
        "random": lambda: flip_random(jax.random.key(seed), data, budget, held, target),
        "greedy": lambda: flip_greedy(data, budget, held, target),
        "ranked": lambda: flip_by_hypergradient(data, budget, held, target, verify=options.verify),
    }


def run(options: Options, report: Report) -> None:
    """One row per learner, split and budget."""
    units = [{"kind": k, "split": s} for k in options.learners for s in range(options.splits)]
    report.each(make_rows, options, units, f"label-flips, {options.data}")
    _notes(options, report)
    if report.out is not None:
        from benchmarks.pictures.label_flips import draw

        report.figure("label-flips", draw(options.data, options.train, report.rows))


def _table(options: Options) -> Table:
    return spambase() if options.data == "spam" else breast_cancer()


def make_rows(options: Options, kind: str, split: int) -> dict[str, list]:
    """The rows of all budgets on a learner and split."""
    sizes = options.train, options.validation, options.test
    parts = _table(options).split(*sizes, split)
    results, cpu, notes, rows = {}, {}, [], []
    for name, attack in attacks_on(kind, options, parts, split).items():
        results[name], cpu[name], _ = warm(attack)
        if int(results[name].result) != 0:
            notes.append(f"{kind}, split {split}, {name}: {results[name].message}")
    clean_val, clean_test = judge(kind, options, parts, parts.train.y)
    data = Data(parts.train.x, parts.train.y)
    for budget in options.budgets:
        cells = {"clean_val_err": clean_val, "clean_test_err": clean_test}
        for name, flips in results.items():
            labels = np.asarray(flips.flip(data, budget).y)
            val, test = judge(kind, options, parts, labels)
            cells |= {f"{name}_val_err": val, f"{name}_test_err": test}
            if name != "random":
                cells[f"{name}_val_loss"] = float(flips.values[budget - 1])
                cells[f"{name}_trainings"] = int(flips.trainings[budget - 1])
        if budget == max(options.budgets):
            cells |= {f"{name}_cpu_seconds": cpu[name] for name in METHODS}
        rows.append({"learner": kind, "split": split, "budget": budget, **cells})
    return {"rows": rows, "notes": notes}


def _notes(options: Options, report: Report) -> None:
    largest = max(options.budgets)
    for kind in options.learners:
        rows = [row for row in report.rows if (row["learner"], row["budget"]) == (kind, largest)]
        shares = ", ".join(
            f"{name} {band([100 * row[f'{name}_test_err'] for row in rows])} %"
            for name in ("clean", *METHODS)
        )
        report.note(f"{kind}, {largest} of {options.train} labels flipped: test error {shares}")
        loss, seconds = (
            band([row[f"ranked_{cell}"] / row[f"greedy_{cell}"] for row in rows], 3)
            for cell in ("val_loss", "cpu_seconds")
        )
        report.note(
            f"  ranked by hypergradient, of greedy: {loss} of the validation loss, "
            f"{seconds} of the CPU seconds"
        )
    report.note(f"each: {options.splits} splits")
