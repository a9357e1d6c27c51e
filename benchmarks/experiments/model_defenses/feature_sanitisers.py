"""Three defenses that inspect the features of training rows, on the same infected networks, MNIST.

Activation clustering (Chen et al. 2018), spectral signatures (Tran et al. 2018) and deep k-nearest
neighbours (Peri et al. 2020) drop rows, and the network is trained again. BackdoorBench reports for
activation clustering, all to one, 10 %, CIFAR-10: success 95.0 % before, 86.2 % after. Controls:
what each drops of clean rows, and what is lost there.
"""

import dataclasses
from typing import Annotated, Any, Literal

import numpy as np

from benchmarks.options import SOME, Count, Share, check
from benchmarks.report import Report, band
from bilevel.learners import Fixed
from defenses import ActivationClustering, DeepNeighbours, SpectralSignatures

from ._found import found, retrained
from ._infected import Infection, case, figures, victim

Kind = Literal["next", "one", "blended"]
Name = Literal["clustering", "spectral", "neighbours"]


@dataclasses.dataclass(frozen=True)
class Options:
    """Attacks, defenses and sizes."""

    kinds: Annotated[tuple[Kind, ...], SOME] = ("next", "one")
    """All digits to the next, all to one, or all to one with noise mixed in."""
    defenses: Annotated[tuple[Name, ...], SOME] = ("clustering", "spectral", "neighbours")
    """Which inspect."""
    share: Share = 0.1
    """Copies in units of the clean digits. Spectral signatures are told the share in a class that
    all to next has."""
    neighbours: Count = 50
    """Of which each row is compared with."""
    seeds: Count = 2
    """Splits, each with its networks."""
    passes: Count = 15
    """Passes of a training."""

    def __post_init__(self):
        check(self)


def defense(options: Options, name: Name, model) -> Any:
    """A defense of a finished model's features."""
    if name == "clustering":
        return ActivationClustering(Fixed(model))
    if name == "spectral":
        return SpectralSignatures(Fixed(model), options.share / (1 + options.share))
    return DeepNeighbours(Fixed(model), options.neighbours)


def make_rows(options: Options, kind: str, seed: int) -> dict[str, Any]:
    """Each defense on one training set, infected and clean."""
    of = Infection("next" if kind == "next" else "one", passes=options.passes, share=options.share)
    if kind == "blended":
        of = dataclasses.replace(of, trigger="blended")
    rows, model, clean = case(of, seed), victim(of, seed), victim(of, seed, infected=False)
    before, made = figures(model, rows), []
    for name in options.defenses:
        seen = defense(options, name, model).inspect(rows.poisoned)
        after = retrained(of, rows, seen, seed)
        control = defense(options, name, clean).inspect(rows.train)
        made.append({
            "kind": kind, "seed": seed, "defense": name, "accuracy": before.accuracy,
            "success": before.success, **found(seen, rows.poisoned, rows.poison),
            "accuracy_after": after.accuracy, "success_after": after.success,
            "recovered": after.recovered,
            "dropped_of_clean_rows": float(np.mean(~np.asarray(control.kept))),
        })  # fmt: skip
    return {"rows": made}


def run(options: Options, report: Report) -> None:
    """A row for each attack, split and defense."""
    units = [{"kind": kind, "seed": s} for s in range(options.seeds) for kind in options.kinds]
    report.each(make_rows, options, units, "feature-sanitisers")
    for kind in options.kinds:
        for name in options.defenses:
            rows = [row for row in report.rows if (row["kind"], row["defense"]) == (kind, name)]
            values = {
                key: band([row[key] for row in rows], 3)
                for key in ("recall", "false_positives", "success", "success_after",
                            "accuracy_after", "dropped_of_clean_rows")
            }  # fmt: skip
            report.note(
                f"{kind}, {name}: recall {values['recall']}, false positives "
                f"{values['false_positives']}, of clean rows {values['dropped_of_clean_rows']}; "
                f"success {values['success']} -> {values['success_after']}, accuracy then "
                f"{values['accuracy_after']}"
            )
