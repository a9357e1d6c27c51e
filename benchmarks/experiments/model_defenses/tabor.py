"""TABOR beside Neural Cleanse: masks restored of squares of five sizes.

Guo et al. 2019 add terms to the search, against triggers that are large, scattered, that hide what
is in the image or only overlay it. Restored masks of the target are compared with the true ones, by
precision, recall and F1, as in the table of the source. The whole audit, with its comparison of
labels, runs on a few infected and clean networks.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, Literal

import jax
import numpy as np

from benchmarks.options import Count, Counts, at_least, check
from benchmarks.report import Report, UsageError, band
from benchmarks.rows import column
from defenses import NeuralCleanse, Tabor, TriggerSearch, overlap
from defenses.audit import AbstractTriggerAudit

from ._infected import TARGET, Infection, case, figures, trigger, victim

Method = Literal["neural-cleanse", "tabor"]
METHODS: dict[Method, Callable[..., AbstractTriggerAudit]] = {
    "neural-cleanse": NeuralCleanse,
    "tabor": Tabor,
}
SOURCE = {"tabor": (0.24, 0.31, 0.21, 0.24, 0.19), "neural-cleanse": (0.02, 0.13, 0.15, 0.07, 0.11)}
"""F1 of five sizes of a trigger, traffic signs."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Sizes, networks and the search."""

    sizes: Counts = (2, 3, 4, 6, 8)
    """Pixels of a side of the square."""
    networks: Count = 5
    """Networks for each size, each with its own split."""
    audits: Annotated[int, at_least(0)] = 1
    """Infected networks, and clean ones, for the whole audit; a minute each."""
    audited: Count = 4
    """Side of their square."""
    passes: Count = 15
    """Passes of a training."""
    rounds: Count = TriggerSearch().rounds
    """Rounds of the search for a trigger."""

    def __post_init__(self):
        check(self)
        if max(self.audited, *self.sizes) > 20:
            raise UsageError("--sizes, --audited: expected at most 20 pixels of a side of 28")


def make_rows(options: Options, size: int, seed: int) -> dict[str, Any]:
    """A row for each method: the mask of the target against the square."""
    backdoor = Infection("one", "square", size, passes=options.passes)
    of, model = case(backdoor, seed), victim(backdoor, seed)
    true: Any = trigger(backdoor)
    success, rows = figures(model, of).success, []
    for name, method in METHODS.items():
        audit = method(search=TriggerSearch(rounds=options.rounds))
        found = audit.restore(model, of.clean, TARGET, key=jax.random.key(seed))
        match = overlap(found.mask[0], true.mask.astype(found.mask.dtype))
        rows.append({
            "size": size, "seed": seed, "method": name, "success": success,
            "pixels": float(found.size[0]), "precision": float(match.precision),
            "recall": float(match.recall), "f1": float(match.f1),
        })  # fmt: skip
    return {"rows": rows}


def make_audits(options: Options, infected: bool, seed: int) -> dict[str, Any]:
    """What the whole audit says of a network."""
    backdoor = Infection("one", "square", options.audited, passes=options.passes)
    of, model = case(backdoor, seed), victim(backdoor, seed, infected)
    audit = Tabor(search=TriggerSearch(rounds=options.rounds))
    compared = audit.examine(model, of.clean, key=jax.random.key(seed)).evidence
    figure, index = np.asarray(compared.figure), np.asarray(compared.index)
    suspects = " ".join(f"{k} ({index[k]:.1f})" for k in np.flatnonzero(compared.suspect))
    return {
        "rows": [],
        "notes": [
            f"TABOR's comparison, {'infected' if infected else 'clean'} network {seed}, square "
            f"{options.audited}: suspect {suspects or 'none'}; {TARGET} has {figure[TARGET]:.3f}, "
            f"index {index[TARGET]:.1f}, the median is {np.median(figure):.3f}"
        ],
    }


def run(options: Options, report: Report) -> None:
    """Rows of all sizes and networks, then the audits."""
    units = [{"size": size, "seed": seed} for size in options.sizes
             for seed in range(options.networks)]  # fmt: skip
    report.each(make_rows, options, units, "tabor")
    audits = [{"infected": infected, "seed": seed} for infected in (True, False)
              for seed in range(options.audits)]  # fmt: skip
    report.each(make_audits, options, audits, "audits")
    _notes(options, report)


def _notes(options: Options, report: Report) -> None:
    above = []
    for size in options.sizes:
        cells = {
            name: {
                k: column(report.rows, k, size=size, method=name)
                for k in ("f1", "precision", "recall")
            }
            for name in METHODS
        }
        above.append(np.mean(cells["tabor"]["f1"]) > np.mean(cells["neural-cleanse"]["f1"]))
        report.note(
            f"square {size}: F1 TABOR {band(cells['tabor']['f1'], 2)}, Neural Cleanse "
            f"{band(cells['neural-cleanse']['f1'], 2)}; precision "
            f"{band(cells['tabor']['precision'], 2)} and "
            f"{band(cells['neural-cleanse']['precision'], 2)}, recall "
            f"{band(cells['tabor']['recall'], 2)} and {band(cells['neural-cleanse']['recall'], 2)}"
        )
    report.note(
        f"TABOR's F1 is above Neural Cleanse's on {sum(above)} of {len(above)} sizes. Source, five "
        "sizes on traffic signs: "
        + "; ".join(f"{k} {', '.join(f'{v:.2f}' for v in values)}" for k, values in SOURCE.items())
    )
    sure = np.mean(column(report.rows, "precision", method="neural-cleanse"))
    covered = np.mean(column(report.rows, "recall", method="neural-cleanse"))
    report.note(
        f"Neural Cleanse's masks lie on the square already, mean precision {sure:.2f}; what they "
        f"lack are pixels that the network does not need, mean recall {covered:.2f}, and TABOR's "
        "terms do not ask for them"
    )
