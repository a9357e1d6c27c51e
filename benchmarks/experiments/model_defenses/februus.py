"""Februus: what the network looked at is cut out of every image and painted anew.

Doan et al., ACSAC 2020, on infected networks and, as controls, clean ones: accuracy, attack success
and recovered stamped digits without a defense, with the mean of clean digits in place of what is
missing, and with an inpainter trained on the defender's clean digits. Heat maps weigh channels by
their derivative at each place or, as in the paper, by its mean over places.
"""

import dataclasses
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.options import SOME, Count, Rule, check
from benchmarks.report import Report, UsageError, band
from benchmarks.rows import column, where
from bilevel.learners import Fixed
from defenses import Februus, Inpainter, MeanFill, PurifiedModel, grad_cam, heat_map, hires_cam
from defenses.purify import Inpainting

from ._infected import Case, Infection, Trigger, case, figures, victim

HEATS = {"places": hires_cam, "mean": grad_cam}
HeatName = Literal["places", "mean"]
Thresholds = Annotated[
    tuple[float, ...], Rule(lambda v: 0 < v <= 1, "a share up to 1", "shares up to 1")
]


@dataclasses.dataclass(frozen=True)
class Options:
    """The trigger, networks, heat maps and the inpainter."""

    trigger: Trigger = "square"
    """A white square, four pixels, or noise mixed into the whole image, which no mask removes."""
    size: Count = 4
    """Pixels of a side of the square."""
    networks: Count = 5
    """Infected networks, and as many clean ones, each with its own split."""
    thresholds: Thresholds = (0.5, 0.7)
    """Of the heat, from which pixels are cut out."""
    heats: Annotated[tuple[HeatName, ...], SOME] = ("places", "mean")
    """Derivatives at each place, or their mean over places."""
    steps: Count = Inpainter().steps
    """Steps of the inpainter's training."""
    passes: Count = 15
    """Passes of a network's training."""

    def __post_init__(self):
        check(self)
        if self.size > 20:
            raise UsageError(f"--size: got {self.size}, expected at most 20 pixels of 28")


def infection(options: Options) -> Infection:
    """A backdoor of all digits to one."""
    return Infection("one", options.trigger, options.size, passes=options.passes)


def inpainting(options: Options, of: Case, seed: int) -> Inpainting:
    """An inpainter of the defender's clean digits."""
    return Inpainter(steps=options.steps).fit(of.clean.x, key=jax.random.key(seed))


def make_rows(options: Options, seed: int) -> dict[str, Any]:
    """A row for each network, fill, heat map and threshold."""
    of, rows = case(infection(options), seed), []
    fills = {"mean": MeanFill(of.clean.x), "inpainter": inpainting(options, of, seed)}
    for infected in (True, False):
        model = victim(infection(options), seed, infected)
        cells: list[tuple[str, str, float, Any]] = [("none", "none", 1.0, model)]
        for heat in options.heats:
            for threshold in options.thresholds:
                for fill, painted in fills.items():
                    defense = Februus(Fixed(model), painted, threshold, HEATS[heat])
                    cells.append((fill, heat, threshold, PurifiedModel(model, defense)))
        for fill, heat, threshold, defended in cells:
            seen = figures(defended, of)
            rows.append({
                "infected": infected, "seed": seed, "fill": fill, "heat": heat,
                "threshold": threshold, **seen._asdict(),
            })  # fmt: skip
    return {"rows": rows}


def run(options: Options, report: Report) -> None:
    """A row for each network and defense."""
    units = [{"seed": seed} for seed in range(options.networks)]
    report.each(make_rows, options, units, "februus")
    _notes(report)
    if report.out is not None:
        from benchmarks.pictures.februus import draw

        report.figure("februus", draw(*pictured(options)))


def pictured(options: Options) -> list[np.ndarray]:
    """Stamped, heat, masked, restored, (5, 28, 28) each: test digits of the first network."""
    of, model = case(infection(options), 0), victim(infection(options), 0)
    defense = Februus(Fixed(model), inpainting(options, of, 0), options.thresholds[-1])
    wanted = np.flatnonzero(np.asarray(of.labels.applies(of.test.y)))
    digits = np.asarray(of.test.y)[wanted]
    some = jnp.asarray([wanted[np.flatnonzero(digits == d)[0]] for d in np.unique(digits)[:5]])
    shown = of.shown[some]
    mask = defense.mask(model, shown)
    images = (
        shown[..., 0], heat_map(model, shown, defense.heat),
        ((1 - mask) * shown + 0.5 * mask)[..., 0], defense.purify(model, shown)[..., 0],
    )  # fmt: skip
    return [np.asarray(image) for image in images]


def _notes(report: Report) -> None:
    for infected in (True, False):
        bare = where(report.rows, infected=infected, fill="none")
        for cells in _distinct(report.rows):
            rows = where(report.rows, infected=infected, **cells)
            drops = [100 * (a["accuracy"] - b["accuracy"]) for a, b in zip(bare, rows, strict=True)]
            name = "no defense" if cells["fill"] == "none" else (
                f"{cells['fill']}, derivatives {'at' if cells['heat'] == 'places' else 'as a mean'}"
                f" {'each place' if cells['heat'] == 'places' else 'over places'}, "
                f"from {cells['threshold']:g}"
            )  # fmt: skip
            report.note(
                f"{'infected' if infected else 'clean'}, {name}: accuracy "
                f"{band(column(rows, 'accuracy'), 3)}, lost {band(drops)} points; attack success "
                f"{band(column(rows, 'success'), 3)}, recovered "
                f"{band(column(rows, 'recovered'), 3)}"
            )
    report.note(
        "source: CIFAR-10 accuracy 90.79 and success 100 % before, 90.08 and .25 after; VGGFace2 "
        "91.86 and 100 before, 91.78 and 0 after; mean fill in a program for these digits in 2026: "
        "97.1 and 99.7 before, 90.1 and 4.4 after"
    )


def _distinct(rows: Any) -> list[dict[str, Any]]:
    """Fill, heat and threshold of all defenses, in order."""
    keys = dict.fromkeys((row["fill"], row["heat"], row["threshold"]) for row in rows)
    return [dict(zip(("fill", "heat", "threshold"), key, strict=True)) for key in keys]
