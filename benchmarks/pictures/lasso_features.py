"""The picture of `lasso-features`: test error, and stability of the features, against the rate."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.rows import Row, distinct, where

from .curves import draw_curve, explain, table
from .style import BLUE, ORANGE, QUIET, RED, new_figure, percent

LINES = (
    ("random", BLUE, "random rows and labels"),
    ("flip", ORANGE, "rows with flipped labels"),
    ("attack", RED, "optimised"),
)


def draw(data: str, features: int, rows: Sequence[Row]) -> Figure:
    """A column per learner: error above, stability below."""
    kinds = distinct(rows, "learner")
    fig = new_figure(1.2 + 4.2 * len(kinds), 7.4)
    panels = fig.subplots(2, len(kinds), squeeze=False, sharex=True, sharey="row")
    rates = sorted(distinct(rows, "rate"))
    for (above, below), kind in zip(panels.T, kinds, strict=True):
        here = where(rows, learner=kind)
        clean = table(here, "clean_test_err", "rate", rates[:1])
        for name, colour, label in LINES:
            errors = np.concatenate([clean, table(here, f"{name}_test_err", "rate", rates)])
            draw_curve(above, [0, *rates], errors, colour, label)
            kept = table(here, f"{name}_stability", "rate", rates)
            lost = 1 - np.concatenate([np.ones_like(clean), kept])
            draw_curve(below, [0, *rates], lost, colour, label)
        below.axhline(1, color=QUIET, lw=1)
        above.set(title=kind)
        below.set(xlabel="poisoning rate")
        for axes in (above, below):
            axes.xaxis.set_major_formatter(FuncFormatter(percent))
        above.yaxis.set_major_formatter(FuncFormatter(percent))
        below.yaxis.set_major_formatter(FuncFormatter(lambda lost, _: f"{1 - lost:.1f}"))
    panels[0, 0].set(ylabel="test error", ylim=(0, None))
    panels[1, 0].set(ylabel=f"stability of the top {features}\n(0: a choice by lot)")
    panels[1, 0].invert_yaxis()
    panels[0, 0].legend(loc="upper left")
    explain(fig, len(distinct(rows, "split")), f"{data}; ")
    return fig
