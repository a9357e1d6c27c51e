"""The picture of `lasso-features`: test error, and stability of the features, against the rate."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from .curves import draw_curve
from .style import BLUE, ORANGE, QUIET, RED, new_figure, percent

if TYPE_CHECKING:
    from benchmarks.experiments.classifiers.lasso_features import Options

LINES = (
    ("random", BLUE, "random rows and labels"),
    ("flip", ORANGE, "rows with flipped labels"),
    ("attack", RED, "optimised"),
)


def draw(options: "Options", rows: list[dict]) -> Figure:
    """A column per learner: error above, stability below."""
    fig = new_figure(1.2 + 4.2 * len(options.learners), 7.4)
    panels = fig.subplots(2, len(options.learners), squeeze=False, sharex=True, sharey="row")
    rates = sorted(options.rates)
    for (above, below), kind in zip(panels.T, options.learners, strict=True):
        here = [row for row in rows if row["learner"] == kind]

        def values(cell, here=here):
            return np.array([[row[cell] for row in here if row["rate"] == rate] for rate in rates])

        clean = values("clean_test_err")[:1]
        for name, colour, label in LINES:
            errors = np.concatenate([clean, values(f"{name}_test_err")])
            draw_curve(above, [0, *rates], errors, colour, label)
            lost = 1 - np.concatenate([np.ones_like(clean), values(f"{name}_stability")])
            draw_curve(below, [0, *rates], lost, colour, label)
        below.axhline(1, color=QUIET, lw=1)
        above.set(title=kind)
        below.set(xlabel="poisoning rate")
        for axes in (above, below):
            axes.xaxis.set_major_formatter(FuncFormatter(percent))
        above.yaxis.set_major_formatter(FuncFormatter(percent))
        below.yaxis.set_major_formatter(FuncFormatter(lambda lost, _: f"{1 - lost:.1f}"))
    panels[0, 0].set(ylabel="test error", ylim=(0, None))
    panels[1, 0].set(ylabel=f"stability of the top {options.features}\n(0: a choice by lot)")
    panels[1, 0].invert_yaxis()
    panels[0, 0].legend(loc="upper left")
    fig.supxlabel(
        f"{options.data}; mean of {options.splits} splits, band: one standard deviation, dotted: "
        "the worst split",
        fontsize=10,
        color=QUIET,
    )
    return fig
