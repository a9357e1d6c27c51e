"""STRIP and filters of inputs: stamped rows that pass, clean rows that are refused, MNIST.

STRIP (Gao et al. 2019) lays clean rows over each row that comes, and refuses what the network reads
alike under all of them; the threshold refuses 1 % of clean rows. Published: false acceptance 0 on
MNIST and CIFAR-10. Filters change the rows instead. The attacker who knows of STRIP trains the
network on copies with rows laid over as well, labelled as what they show: under an overlay his
trigger does not win. The attacker who knows of filters takes a trigger that they leave: a square.
"""

import dataclasses
from typing import Annotated, Any, Literal

import numpy as np

from benchmarks.options import SOME, Count, Share, check
from benchmarks.report import Report, band
from bilevel import append
from bilevel.learners import AbstractLearner, Fixed
from defenses import FewerLevels, MeanFilter, MedianFilter, Strip

from ._infected import Case, Infection, case, figures, trained, victim

Trigger = Literal["pattern", "square", "blended"]
Name = Literal["strip", "median", "mean", "levels"]


@dataclasses.dataclass(frozen=True)
class Options:
    """Triggers, defenses and sizes."""

    triggers: Annotated[tuple[Trigger, ...], SOME] = ("pattern", "square", "blended")
    """Four pixels, a white square of 4 x 4, or noise mixed in; all digits become one class."""
    defenses: Annotated[tuple[Name, ...], SOME] = ("strip", "median", "mean", "levels")
    """STRIP; medians or means of 3 x 3 pixels; two levels of grey."""
    overlays: Count = 20
    """Rows laid over each row by STRIP."""
    refusals: Share = 0.01
    """Share of clean rows that STRIP refuses."""
    covers: Count = 360
    """Copies under overlays, with true labels, of the attacker who knows of STRIP."""
    seeds: Count = 2
    """Splits, each with its networks."""
    passes: Count = 15
    """Passes of a training."""

    def __post_init__(self):
        check(self)


def defended(options: Options, name: Name, model, rows: Case) -> AbstractLearner:
    """A defense of a finished model."""
    if name == "strip":
        return Strip(Fixed(model), rows.clean, options.overlays, options.refusals)
    if name == "levels":
        return FewerLevels(Fixed(model), 1)
    return (MedianFilter if name == "median" else MeanFilter)(Fixed(model), 3)


def covered(options: Options, rows: Case, seed: int) -> Case:
    """The case with copies under overlays among the training rows, labelled as what they show."""
    rng = np.random.default_rng([seed, 1])
    base, over = (rng.integers(0, rows.train.rows, options.covers) for _ in range(2))
    z = rows.reach.example(rows.train)
    mixed = 0.5 * rows.reach.present(z, rows.train.x[base]) + 0.5 * rows.train.x[over]
    return rows._replace(poisoned=append(rows.poisoned, mixed, rows.train.y[base]))


def make_rows(options: Options, trigger: Trigger, kind: str, seed: int) -> dict[str, Any]:
    """Each defense of one network."""
    of = Infection(trigger=trigger, passes=options.passes)
    rows = case(of, seed)
    if kind == "covers":
        rows = covered(options, rows, seed)
        model = trained(rows.poisoned, of.passes, seed)
    else:
        model = victim(of, seed, infected=kind == "infected")
    before, made = figures(model, rows), []
    for name in options.defenses:
        if kind == "covers" and name != "strip":
            continue
        shielded = defended(options, name, model, rows).fit(rows.train).model
        after = figures(shielded, rows)
        cells = {"success": before.success, "accuracy": before.accuracy,
                 "success_after": after.success, "accuracy_after": after.accuracy,
                 "recovered": after.recovered}  # fmt: skip
        if name == "strip":
            refused = [np.asarray(shielded.predict(x) == 10) for x in (rows.test.x, rows.shown)]
            meant = np.asarray(rows.labels.applies(rows.test.y))
            cells |= {"refused": float(refused[0].mean()),
                      "passed": float(1 - refused[1][meant].mean())}  # fmt: skip
        made.append({"trigger": trigger, "kind": kind, "seed": seed, "defense": name, **cells})
    return {"rows": made}


def run(options: Options, report: Report) -> None:
    """A row for each trigger, network and defense."""
    kinds = ["infected", *(["covers"] if "strip" in options.defenses else [])]
    units = [
        {"trigger": trigger, "kind": kind, "seed": seed}
        for seed in range(options.seeds)
        for trigger in options.triggers
        for kind in [*kinds, *(["clean"] if trigger == options.triggers[0] else [])]
    ]
    report.each(make_rows, options, units, "strip")
    groups = dict.fromkeys((r["trigger"], r["kind"], r["defense"]) for r in report.rows)
    for group in groups:
        rows = [r for r in report.rows if (r["trigger"], r["kind"], r["defense"]) == group]

        def mean(name: str, rows=rows) -> str:
            return band([row[name] for row in rows], 3)

        more = ""
        if group[2] == "strip":
            more = f"; stamped rows that pass {mean('passed')}, clean refused {mean('refused')}"
        report.note(
            f"{', '.join(group)}: success {mean('success')} -> {mean('success_after')}, accuracy "
            f"{mean('accuracy')} -> {mean('accuracy_after')}{more}"
        )
