"""Gradient matching: one test digit is misread as the attacker wants, and no label is wrong, MNIST.

Witches' Brew (Geiping et al., ICLR 2021): some training digits of the wanted class are moved until
their gradient, in the weights of networks that the attacker has trained, points where that of the
test digit with the wanted label does. Networks with other initial weights are then trained from
scratch on all digits. Targets are random test digits that all clean victims read right; the wanted
class is a random other one. Controls: random noise of the same size on the same digits, and the
clean victims.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from benchmarks.clean_label import Digits, Setting, aligned, digits, near
from benchmarks.options import Count, Positive
from benchmarks.report import Report
from bilevel import Data, batch

from ._pairs import Pairs, judged, pairs, read, read_clean, shaken, summary


@dataclasses.dataclass(frozen=True)
class Options(Setting):
    """The attack."""

    members: Count = 4
    """Networks of the attacker, over which the alignment is averaged."""
    restarts: Count = 2
    """Random starts, of which the best aligned counts."""
    steps: Count = 100
    """Steps of an attack."""
    step: Positive = 0.1
    """Length of the first steps, in every pixel."""


def matched(options: Options, of: Digits, chosen: Pairs) -> tuple[Array, Float[Array, " p"]]:
    """The moved digits (p, n, ...) of each pair and their alignment; one program for all."""

    def one(x, wanted, rows, key):
        reach = near(options, of.train, rows)
        return aligned(
            reach.perturb(), Data(x[None], wanted[None]), of.models, of.train,
            reach.starts(key, options.restarts), options.step, options.steps,
        )  # fmt: skip

    return batch(one)(chosen.x, chosen.wanted, chosen.rows, chosen.keys)


def make_rows(options: Options, seed: int) -> dict[str, Any]:
    """A row for each pair, with the moved digits, with noise and with clean digits."""
    of = digits(options, seed, options.members)
    chosen = pairs(options, of, seed)
    moved, alignment = matched(options, of, chosen)
    rows = [
        *judged(of, chosen, "matched", read(options, of, chosen, moved), alignment=alignment),
        *judged(of, chosen, "noise", read(options, of, chosen, shaken(options, of, chosen))),
        *judged(of, chosen, "clean", read_clean(of, chosen)),
    ]
    shown = [np.asarray(part[:3]) for part in (of.train.x[chosen.rows], moved, chosen.x[:, None])]
    return {"rows": [{"seed": seed, **row} for row in rows], "images": shown}


def run(options: Options, report: Report) -> None:
    """Three rows for each pair of a target and a class."""
    units = [{"seed": seed} for seed in range(options.seeds)]
    made = report.each(make_rows, options, units, "gradient-matching")
    for kind in ("matched", "noise", "clean"):
        report.note(summary(options, report.rows, kind))
    if report.out is not None:
        from benchmarks.pictures.clean_label import draw

        report.figure("gradient-matching", draw(*made[0]["images"]))
