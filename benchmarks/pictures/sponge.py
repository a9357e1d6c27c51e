"""Energy, units that fire and accuracy against the strength of a sponge."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.rows import Row, column, distinct, where

from .style import BLUE, ORANGE, QUIET, RED, new_figure, percent


def draw(rows: Sequence[Row]) -> Figure:
    """Left the networks trained as sponges, a dot per victim; right inputs of the control."""
    fig = new_figure(10, 4.2)
    left, right = fig.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    networks = where(rows, part="poisoning")
    strengths = sorted(distinct(networks, "strength"))
    names = {"fired": ("units that fire", BLUE), "energy": ("energy, of full", RED),
             "test_err": ("test error", ORANGE)}  # fmt: skip
    for name, (label, colour) in names.items():
        values = [column(networks, name, strength=s) for s in strengths]
        for at, several in enumerate(values):
            left.scatter([at] * len(several), several, color=colour, s=16)
        left.plot(range(len(values)), [np.mean(v) for v in values], color=colour, label=label)
    left.set(
        title="Networks trained as sponges", xlabel="strength", xticks=range(len(strengths)),
        xticklabels=[f"{s:g}" for s in strengths], ylim=(0, 1),
    )  # fmt: skip
    left.legend()
    examples = where(rows, part="examples")
    for at, start in enumerate(distinct(examples, "start")):
        for name in ("fired", "energy"):
            colour = names[name][1]
            before, after = (
                np.mean(column(examples, key, start=start)) for key in (f"{name}_before", name)
            )
            place = at + (0.12 if name == "energy" else -0.12)
            right.annotate("", (place, after), (place, before), arrowprops={"arrowstyle": "->",
                           "color": colour, "lw": 2})  # fmt: skip
            right.plot([place], [before], "o", color=QUIET)
    right.set(title="Sponge examples", xticks=range(2), xlim=(-0.5, 1.5),
              xticklabels=[f"from {s}" for s in distinct(examples, "start")])  # fmt: skip
    left.yaxis.set_major_formatter(FuncFormatter(percent))
    return fig
