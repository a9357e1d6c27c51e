"""The picture of `restarts`: what the best of k starts does, against k."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.rows import Row, distinct, where

from .curves import draw_curve, explain, table
from .style import BLUE, QUIET, RED, new_figure, percent


def draw(rows: Sequence[Row]) -> Figure:
    """A column per learner: the loss that the attacker raises, and test errors."""
    kinds = distinct(rows, "learner")
    fig = new_figure(1.2 + 4.6 * len(kinds), 7.4)
    panels = fig.subplots(2, len(kinds), squeeze=False, sharex=True)
    starts = sorted(distinct(rows, "starts"))
    for (above, below), kind in zip(panels.T, kinds, strict=True):
        here = where(rows, learner=kind)
        for axes, cell, clean in (
            (above, "loss", "clean_loss"),
            (below, "test_err", "clean_test_err"),
        ):
            for before, colour, label in (("", RED, "climbed"), ("start_", BLUE, "not moved")):
                values = table(here, before + cell, "starts", starts)
                draw_curve(axes, starts, values, colour, label)
            level = table(here, clean, "starts", starts).mean(axis=1)
            axes.plot(starts, level, color=QUIET, lw=1.4, label="no poison")
        bound = table(here, "bound_err", "starts", starts).mean(axis=1)
        below.plot(starts, bound, color=RED, ls="--", lw=1.4, label="climbed, best by test digits")
        below.yaxis.set_major_formatter(FuncFormatter(percent))
        above.set(title=kind)
        below.set(xlabel="starts, of which the best is kept")
        below.set_xscale("log", base=2)
        below.xaxis.set_major_formatter(FuncFormatter(lambda k, _: f"{k:g}"))
    panels[0, 0].set(ylabel="validation loss")
    panels[1, 0].set(ylabel="test error")
    panels[1, 0].legend(loc="best")
    explain(fig, len(distinct(rows, "split")))
    return fig
