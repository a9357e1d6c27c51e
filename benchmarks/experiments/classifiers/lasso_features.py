"""Poisoned feature selection: test error, and how much of the choice of features survives.

Xiao, Biggio, Brown, Fumera, Eckert & Roli, "Is feature selection secure against training data
poisoning?", ICML 2015: LASSO, elastic net and ridge as classifiers on labels -1 and +1. Copies of
training rows with flipped labels are moved along the exact hypergradient inside [0, 1], after
scaling: what a PDF file could really contain is not modelled. Errors and weights are those of
scikit-learn's models, trained anew.
"""

import dataclasses
from typing import Annotated, Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from attacks import kuncheva_index, poison_feature_selection, selected
from benchmarks.ascents import CLASSIFIERS as ASCENT
from benchmarks.clock import warm
from benchmarks.data import Parts, breast_cancer, pdf_malware
from benchmarks.options import SOME, Count, Positive, Shares, check
from benchmarks.report import Report, UsageError, band
from benchmarks.twins import REGRESSIONS, Strengths, errors, wrong_sign
from bilevel import Data

POISONS = ("random", "flip", "attack")


@dataclasses.dataclass(frozen=True)
class Options:
    """What to attack, and with how much."""

    data: Literal["breast-cancer", "pdf"] = "breast-cancer"
    """Which rows; pdf is malware in PDF files, which must be in the folder BILEVEL_DATA."""
    learners: Annotated[tuple[Literal["lasso", "elastic-net", "ridge"], ...], SOME] = (
        "lasso", "elastic-net", "ridge",
    )  # fmt: skip
    """Which classifiers."""
    rates: Shares = (0.02, 0.05, 0.1, 0.15, 0.2)
    """Poisoning rates: shares of poison among all training rows."""
    splits: Count = 10
    """Number of random splits."""
    train: Count = 200
    """Clean training rows."""
    validation: Count = 150
    """Validation rows: the attacker raises the loss on them."""
    test: Count = 200
    """Held-out test rows."""
    features: Count = 5
    """How many features are selected: those of largest weight."""
    strength: Positive = 0.003
    """l1 of the LASSO; half of it is l1 and half l2 of the elastic net, all of it l2 of ridge."""
    steps: Count = 70
    """Steps of the attack."""

    def __post_init__(self):
        check(self)


class Poison(NamedTuple):
    """Rows (m, d) and labels (m,)."""

    x: np.ndarray
    y: np.ndarray


class Judged(NamedTuple):
    """What scikit-learn's model of clean rows and poison does, and which features it selects."""

    val: float
    test: float
    chosen: np.ndarray
    nonzero: int


def strengths(kind: str, options: Options, rows: int) -> Strengths:
    """As scikit-learn counts them: ridge's alpha is times the rows, those of the others not."""
    return Strengths(alpha=options.strength * (rows if kind == "ridge" else 1))


def judge(kind: str, options: Options, parts: Parts, poison: Poison) -> Judged:
    """Train scikit-learn's model with the poison."""
    rows = len(parts.train.y) + len(poison.y)
    model = REGRESSIONS[kind].theirs(strengths(kind, options, rows))
    val, test = errors(model, parts, poison, error=wrong_sign)
    nonzero = len(selected(model.coef_))
    return Judged(val, test, selected(model.coef_, options.features), nonzero)


def starts(options: Options, parts: Parts, count: int, split: int) -> tuple[Poison, Poison]:
    """Random rows of the domain with random labels; training rows with flipped labels."""
    rng = np.random.default_rng([1, split])
    copied = rng.choice(options.train, count, replace=count > options.train)
    drawn = Poison(rng.uniform(size=(count, parts.train.x.shape[1])), rng.choice([-1.0, 1], count))
    return drawn, Poison(parts.train.x[copied], -parts.train.y[copied])


def run(options: Options, report: Report) -> None:
    """One row per learner, rate and split."""
    _split(options)
    units = [{"kind": kind, "rate": rate} for kind in options.learners for rate in options.rates]
    report.each(make_rows, options, units, f"lasso-features, {options.data}")
    _notes(options, report)
    if report.out is not None:
        from benchmarks.pictures.lasso_features import draw

        report.figure("lasso-features", draw(options.data, options.features, report.rows))


def make_rows(options: Options, kind: str, rate: float) -> dict[str, list]:
    """The rows of all splits: features are chosen across them."""
    return _attacked(kind, rate, options, _split(options))


def _split(options: Options) -> list[Parts]:
    table = pdf_malware() if options.data == "pdf" else breast_cancer()
    width = table.x.shape[1]
    if options.features >= width:
        raise UsageError(f"--features: got {options.features}, expected fewer than {width}")
    return [
        table.split(options.train, options.validation, options.test, split)
        for split in range(options.splits)
    ]


def _attacked(kind: str, rate: float, options: Options, parts: list[Parts]) -> dict[str, list]:
    count = max(1, round(rate * options.train / (1 - rate)))
    width = parts[0].train.x.shape[1]
    total = options.train + count
    learner: Any = REGRESSIONS[kind].ours(strengths(kind, options, total), total)
    judged: list[dict[str, Judged]] = []
    seconds: list[float] = []
    notes: list[str] = []
    for split, here in enumerate(parts):
        drawn, flipped = starts(options, here, count, split)

        def attack(here=here, flipped=flipped):
            return poison_feature_selection(
                Data(here.train.x, here.train.y), jnp.asarray(flipped.x), jnp.asarray(flipped.y),
                Data(here.validation.x, here.validation.y), learner,
                steps=options.steps, ascent=ASCENT,
            ).climb()  # fmt: skip

        result, cpu, _ = warm(attack)
        if int(result.steps) < options.steps:
            notes.append(f"{kind}, {100 * rate:.3g} % poison, split {split}: {result.message}")
        made = Poison(np.asarray(result.z), flipped.y)
        none = Poison(made.x[:0], made.y[:0])
        each = {"clean": none, "random": drawn, "flip": flipped, "attack": made}
        judged.append({name: judge(kind, options, here, poison) for name, poison in each.items()})
        seconds.append(cpu)
    across = {  # of the splits' selections with each other
        name: kuncheva_index([each[name].chosen for each in judged], width)
        for name in judged[0] if options.splits > 1
    }  # fmt: skip

    def kept(each: dict[str, Judged], name: str) -> float:
        return kuncheva_index([each["clean"].chosen, each[name].chosen], width)

    rows = [
        {
            "learner": kind, "rate": rate, "split": split, "points": count,
            "clean_test_err": each["clean"].test, "clean_nonzero": each["clean"].nonzero,
            **{f"{name}_test_err": each[name].test for name in POISONS},
            "attack_val_err": each["attack"].val, "attack_nonzero": each["attack"].nonzero,
            **{f"{name}_stability": kept(each, name) for name in POISONS},
            **{f"{name}_across": across.get(name) for name in ("clean", "attack")},
            "cpu_seconds": cpu,
        }
        for split, (each, cpu) in enumerate(zip(judged, seconds, strict=True))
    ]  # fmt: skip
    return {"rows": rows, "notes": notes}


def _notes(options: Options, report: Report) -> None:
    for kind in options.learners:
        for rate in options.rates:
            rows = [r for r in report.rows if r["learner"] == kind and r["rate"] == rate]
            shares, kept = (
                ", ".join(
                    f"{name} {band([times * row[f'{name}_{cell}'] for row in rows], digits)}"
                    for name in names
                )
                for cell, names, times, digits in (
                    ("test_err", ("clean", *POISONS), 100, 1), ("stability", POISONS, 1, 2),
                )
            )  # fmt: skip
            report.note(f"{kind}, {100 * rate:.3g} % poison: test error in % {shares}")
            report.note(f"  stability of the top {options.features}: {kept}")
    report.note(
        f"each: {options.splits} splits. Stability: Kuncheva's index, poisoned "
        "against clean training on the same rows; 1 the same features, 0 a choice by lot"
    )
