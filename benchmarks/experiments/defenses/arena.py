"""The arena: every attack against every defense, unaware of it and adapted to it.

An adapted attack is the same composition with the defended learner in the learner's place: its
smooth surrogate where there is one, scored with the hard defense. Controls are rows inserted but
not moved, and labels flipped at random. Poison is shuffled into the rows; the defender's share of
contamination is fixed before any poison is seen.
"""

import os
from concurrent.futures import ThreadPoolExecutor

from benchmarks.data import breast_cancer, spambase
from benchmarks.report import Report, band
from benchmarks.rows import where

from ._arena_attacks import CONTROLS, Field
from ._arena_cells import baseline, meet
from ._arena_options import Options

KEY = ("attack", "defense", "learner", "rate", "seed")


def run(options: Options, report: Report) -> None:
    """One row per attack, defense, learner, rate and seed; errors are of test rows."""
    table = spambase() if options.data == "spam" else breast_cancer()
    field = Field(
        options,
        [
            table.split(options.train, options.validation, options.test, seed)
            for seed in range(options.seeds)
        ],
    )
    count = len(options.attacks) * len(options.rates) * options.seeds
    todo = [
        (kind, name)
        for kind in options.learners
        for name in options.defenses
        if len(where(report.rows, learner=kind, defense=name)) < count
    ]
    # Threads, because most of the time goes into compiling and running, outside of Python.
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        kinds = dict.fromkeys(kind for kind, _ in todo)
        bases = {kind: pool.submit(baseline, field, kind) for kind in kinds}
        waiting = [pool.submit(lambda k, n: meet(field, k, n, bases[k].result()), *t) for t in todo]
        for future in report.track(waiting, f"arena, {options.data}"):
            for cells in future.result():
                if not report.done(**{name: cells[name] for name in KEY}):
                    report.row(**cells)
    finally:  # an interrupt waits for the cells that run, not for all
        pool.shutdown(cancel_futures=True)
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
