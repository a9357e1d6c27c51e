"""Error of poisoned classifiers against the number of poison points."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.rows import Row, distinct, where

from .curves import draw_curve, explain, table
from .style import BLUE, QUIET, RED, new_figure, percent

LINES = (
    ("test_err", RED, "optimised"),
    ("flip_test_err", BLUE, "flipped and not moved"),
    ("clean_test_err", QUIET, "no poison"),
)


def draw(name: str, train: int, rows: Sequence[Row]) -> Figure:
    """A panel per learner."""
    fig = new_figure(10, 4.2)
    kinds = sorted(distinct(rows, "learner"), reverse=True)
    panels = fig.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        here = where(rows, learner=kind)
        points = sorted(distinct(here, "points"))
        for cell, colour, label in LINES:
            draw_curve(axes, points, table(here, cell, "points", points), colour, label)
        axes.set(
            title=f"{name}, {kind}",
            xlabel=f"poison points beside {train} training rows",
        )
        axes.yaxis.set_major_formatter(FuncFormatter(percent))
    panels[0].set(ylabel="error on test rows", ylim=(0, None))
    panels[0].legend(loc="upper left")
    explain(fig, len(distinct(rows, "split")))
    return fig
