"""Poison against fairness on the two Gaussians of Solans et al. 2020, over their distance.

The group is no feature: it follows from the place of a row, by chance. Poison lies in the range of
the training rows. Attackers, tables and figures are those of `fairness-compas`.
"""

import dataclasses

from benchmarks.options import Positive, Positives, check
from benchmarks.report import Report

from . import _shares
from ._attackers import ATTACKERS
from ._cases import Case, synthetic
from ._notes import line
from ._run import run_on
from ._shares import judged

SWEPT = ("none", "random-flips", "group-flips", "error-generic", "impact", "impact-1-point", "hide")


@dataclasses.dataclass(frozen=True)
class Options(_shares.Options):
    """How much poison, on which rows, how far apart."""

    distance: Positive = 3.0
    """Distance of the classes' means, in all tables but the sweep."""
    distances: Positives = (1.0, 3.0, 5.0, 7.0, 9.0)
    """Distances of the sweep."""
    train: int = 320
    validation: int = 320

    def __post_init__(self):
        check(self)

    def case(self, data: str, seed: int) -> Case:
        """A draw; there is one table."""
        del data
        return synthetic(self.distance)(self.sizes, seed)


def run(options: Options, report: Report) -> None:
    """One row per table, attacker, victim, share, draw, and distance of the sweep."""
    if "shares" in options.tables:
        sweep(options, report)
    run_on("synthetic", options, report)
    if report.out is not None and "shares" in options.tables:
        from benchmarks.pictures.fairness import draw_plane

        case = options.case("synthetic", 0)
        setting = options.setting(case, options.share, 0)
        poison = {name: ATTACKERS[name](setting) for name in ("impact", "hide")}
        report.figure("fairness-plane", draw_plane(case.train, poison, options.distance))


def make_distance(options: Options, distance: float, seed: int) -> dict[str, list]:
    """The rows of the main attackers at one share, distance and draw."""
    case = synthetic(distance)(options.sizes, seed)
    setting = options.setting(case, options.share, seed)
    rows = []
    for name in SWEPT:
        poison = None if name == "none" else ATTACKERS[name](setting)
        key = {"table": "distances", "attacker": name, "distance": distance, "seed": seed}
        rows.append(key | judged(options, case, poison, seed))
    return {"rows": rows}


def sweep(options: Options, report: Report) -> None:
    """The main attackers at one share, against the distance."""
    units = [{"distance": d, "seed": s} for d in options.distances for s in range(options.seeds)]
    report.each(make_distance, options, units, "distances")
    for distance in options.distances:
        for name in SWEPT:
            rows = [r for r in report.rows if r["table"] == "distances"
                    and (r["attacker"], r["distance"]) == (name, distance)]  # fmt: skip
            report.note(f"distance {distance:g}, {name}: {line(rows)}")
