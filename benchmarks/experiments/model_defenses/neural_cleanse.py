"""Neural Cleanse on infected and clean networks, and the attacker who makes the trigger large.

Wang et al., S&P 2019: of every label the smallest trigger is restored from clean digits; a label
that needs far less than the others is suspect. Five networks with a white square and, as controls,
five without. The attacker who knows of it stamps squares as large as what any label asks for, or
mixes noise into the whole image. Beside it the histogram of wrong labels (Liu et al. 2018), which
asks for no gradient: on clean rows, and on rows of which half bear the trigger.
"""

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.options import Count, Counts, at_least, check
from benchmarks.report import Report, UsageError, band
from benchmarks.rows import Row, column, distinct, where
from bilevel import Data
from defenses import NeuralCleanse, TriggerSearch, WrongLabels, overlap

from ._infected import TARGET, Case, Infection, Trigger, case, figures, trigger, victim


@dataclasses.dataclass(frozen=True)
class Options:
    """Triggers, networks and the search."""

    trigger: Trigger = "square"
    """Of the networks that are compared with clean ones."""
    size: Count = 4
    """Pixels of a side of the square."""
    networks: Count = 5
    """Infected networks, and as many clean ones, each with its own split."""
    larger: Counts = (8, 10)
    """Sides of squares of the attacker who knows of the audit."""
    fewer: Annotated[int, at_least(0)] = 3
    """Networks for each of these, and for noise that is mixed in."""
    passes: Count = 15
    """Passes of a training."""
    rounds: Count = TriggerSearch().rounds
    """Rounds of the search for a trigger."""

    def __post_init__(self):
        check(self)
        if max(self.size, *self.larger) > 20:
            raise UsageError("--size, --larger: expected at most 20 pixels of a side of 28")


def infection(options: Options, kind: Trigger, size: int) -> Infection:
    """A backdoor of all digits to one."""
    return Infection("one", kind, size, passes=options.passes)


def half_stamped(of: Case) -> Data:
    """The defender's rows, every other one with the trigger."""
    z = of.reach.example(of.train)
    every = (jnp.arange(of.clean.rows) % 2 == 0)[:, None, None, None]
    return Data(jnp.where(every, of.reach.present(z, of.clean.x), of.clean.x), of.clean.y)


def make_rows(
    options: Options, kind: Trigger, size: int, infected: bool, seed: int
) -> dict[str, Any]:
    """The audit of a network: which labels are suspect, and the trigger of the target."""
    backdoor = infection(options, kind, size)
    of, model = case(backdoor, seed), victim(backdoor, seed, infected)
    audit = NeuralCleanse(TriggerSearch(rounds=options.rounds))
    verdict = audit.examine(model, of.clean, key=jax.random.key(seed))
    compared, triggers = verdict.evidence, verdict.evidence.triggers
    true: Any = trigger(backdoor)
    match = overlap(triggers.mask[TARGET], true.mask.astype(triggers.mask.dtype))
    sizes, is_target = np.asarray(triggers.size), np.arange(10) == TARGET
    suspects = np.flatnonzero(np.asarray(compared.suspect))
    seen, wrong = figures(model, of), WrongLabels()
    row = {
        "trigger": kind, "size": size, "infected": infected, "seed": seed,
        "accuracy": seen.accuracy, "success": seen.success,
        "suspects": " ".join(map(str, suspects)) or "none",
        "right": suspects.tolist() == ([TARGET] if infected else []),
        "index": float(np.clip(compared.index[TARGET], -99, 99)),
        "pixels": float(sizes[TARGET]), "least_of_others": float(sizes[~is_target].min()),
        "median": float(np.median(sizes)),
        "precision": float(match.precision), "recall": float(match.recall), "f1": float(match.f1),
        "wrong_clean": float(wrong.examine(model, of.clean).score),
        "wrong_stamped": float(wrong.examine(model, half_stamped(of)).score),
    }  # fmt: skip
    return {"rows": [row], "masks": np.asarray(triggers.mask[TARGET][..., 0])}


def run(options: Options, report: Report) -> None:
    """A row for each network."""
    mine = [(options.trigger, options.size, infected) for infected in (True, False)]
    others: list[tuple[Trigger, int, bool]] = [("square", size, True) for size in options.larger]
    others.append(("blended", options.size, True))
    units = [
        {"kind": kind, "size": size, "infected": infected, "seed": seed}
        for group, count in ((mine, options.networks), (others, options.fewer))
        for kind, size, infected in group
        for seed in range(count)
    ]
    made = report.each(make_rows, options, units, "neural-cleanse")
    _notes(options, report)
    if report.out is not None:
        from benchmarks.pictures.neural_cleanse import draw

        first = [m for m in made if m["rows"][0]["seed"] == 0 and m["rows"][0]["infected"]]
        rows = [m["rows"][0] for m in first]
        true: Any = [trigger(infection(options, r["trigger"], r["size"])) for r in rows]
        masks = [(np.asarray(t.mask[..., 0]), m["masks"]) for t, m in zip(true, first, strict=True)]
        report.figure("neural-cleanse", draw(report.rows, rows, masks))


def _notes(options: Options, report: Report) -> None:
    for name in ("square", "pattern", "blended"):
        for size in distinct(report.rows, "size"):
            for infected in (True, False):
                rows = where(report.rows, trigger=name, size=size, infected=infected)
                if rows:
                    report.note(_note(rows))
    report.note(
        "source: indices of all infected networks above 3, of all clean ones below 2 (Wang et al. "
        "2019); a program for these digits in 2026: 17.4 pixels for a square of 16, 68 to 139 for "
        "other labels, none suspect in a clean network, F1 .84, 58 s"
    )
    for infected in (True, False):
        rows = where(report.rows, trigger=options.trigger, size=options.size, infected=infected)
        report.note(
            f"largest share of one wrong label, {'infected' if infected else 'clean'} networks: "
            f"clean rows {band(column(rows, 'wrong_clean'), 2)}, half of them stamped "
            f"{band(column(rows, 'wrong_stamped'), 2)} (source: .42 and .25 against .33 of a clean "
            "network, and .79 and .95 against .45)"
        )


def _note(rows: list[Row]) -> str:
    first, right = rows[0], sum(column(rows, "right"))
    what = f"{first['trigger']} {first['size']}, {'infected' if first['infected'] else 'clean'}"
    said = (
        f"{what}: {'only the target' if first['infected'] else 'nothing'} is suspect in {right} of "
        f"{len(rows)}, index {band(column(rows, 'index'))}; {TARGET} asks for "
        f"{band(column(rows, 'pixels'))} pixels, the least of the others for "
        f"{band(column(rows, 'least_of_others'))}"
    )
    if not first["infected"]:
        return said
    f1, success = (band(column(rows, name), 2) for name in ("f1", "success"))
    return f"{said}; F1 {f1}; attack success {success}"
