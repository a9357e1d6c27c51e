"""What one changed image does to a decision: as predicted, against retraining."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from benchmarks.rows import Row, column, distinct, where

from .style import BLUE, ORANGE, QUIET, new_figure


def draw(rows: Sequence[Row]) -> Figure:
    """For each size of the change: influence and implicit derivative against retraining."""
    sizes = distinct(rows, "levels")
    fig = new_figure(4.6 * len(sizes), 4.4)
    for axes, level in zip(fig.subplots(1, len(sizes), squeeze=False)[0], sizes, strict=True):
        of = where(rows, levels=level)
        there = np.array(column(of, "retrained"))
        ends = [0, 1.05 * float(np.max(there))]
        axes.plot(ends, ends, color=QUIET, lw=1)
        for name, colour, marker in (("influence", ORANGE, "s"), ("implicit", BLUE, "o")):
            axes.plot(there, column(of, name), marker, color=colour, ms=4, label=name)
        axes.set_xlabel("change of the decision, retrained")
        axes.set_title(f"{level:g} grey levels")
        axes.legend()
    return fig
