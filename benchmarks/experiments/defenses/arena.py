"""The arena: every attack against every defense, unaware of it and adapted to it.

An adapted attack is the same composition with the defended learner in the learner's place: its
smooth surrogate where there is one, scored with the hard defense. Controls are rows inserted but
not moved, and labels flipped at random. Poison is shuffled into the rows; the defender's share of
contamination is fixed before any poison is seen.
"""

import functools
from typing import Any

from benchmarks.data import breast_cancer, spambase
from benchmarks.report import Report, band
from benchmarks.rows import where

from ._arena_attacks import CONTROLS, Field
from ._arena_cells import Baseline, baseline, meet
from ._arena_options import Options


@functools.cache
def _field(options: Options) -> Field:
    table = spambase() if options.data == "spam" else breast_cancer()
    sizes = options.train, options.validation, options.test
    return Field(options, [table.split(*sizes, seed) for seed in range(options.seeds)])


@functools.cache
def _baseline(options: Options, learner: str) -> Baseline:
    """Shared by the defenses that one process tries."""
    return baseline(_field(options), learner)


def make_rows(options: Options, learner: str, defense: str) -> dict[str, Any]:
    """All rows of one learner behind one defense."""
    base = _baseline(options, learner)
    return {"rows": meet(_field(options), learner, defense, base)}


def run(options: Options, report: Report) -> None:
    """One row per attack, defense, learner, rate and seed; errors are of test rows."""
    units = [
        {"learner": learner, "defense": defense}
        for learner in options.learners
        for defense in options.defenses
    ]
    report.each(make_rows, options, units, f"arena, {options.data}")
    _notes(options, report)
    if report.out is not None:
        from benchmarks.pictures.arena import draw

        adapted = [name for name in options.attacks if name not in CONTROLS]
        groups = options.attacks, adapted, options.learners, options.defenses
        report.figure("arena", draw(report.rows, *groups))


def _notes(options: Options, report: Report) -> None:
    highest = max(options.rates)
    for name in options.defenses:
        for attack in options.attacks:
            parts = []
            for kind in options.learners:
                key = {"attack": attack, "defense": name, "learner": kind, "rate": highest}
                rows = where(report.rows, **key)
                words = [
                    f"{what} {band([100 * r[cell] for r in rows])}"
                    for what, cell in (
                        ("clean", "clean_err"), ("undefended", "undefended_err"),
                        ("unaware", "unaware_err"),
                    )
                ]  # fmt: skip
                if attack not in CONTROLS:
                    more = band([100 * (r["adapted_err"] - r["unaware_err"]) for r in rows])
                    words += [f"adapted {band([100 * r['adapted_err'] for r in rows])}"]
                    words += [f"adapted less unaware {more}"]
                parts.append(f"{kind}: {', '.join(words)}")
            report.note(f"{name} against {attack}, {100 * highest:.0f} %: {'; '.join(parts)}")
        for kind in options.learners:
            rows = where(report.rows, defense=name, learner=kind, attack=options.attacks[0])
            rows = where(rows, rate=highest)
            cost = band([100 * (r["clean_defended_err"] - r["clean_err"]) for r in rows])
            report.note(f"{name} costs {kind} {cost} points of test error where no row is poison")
    report.note(f"test error in per cent; {options.seeds} splits")
