"""Security curves of regression: test error against the poisoning rate."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.rows import Row, distinct, where

from .curves import draw_curve, explain, table
from .style import BLUE, ORANGE, QUIET, RED, new_figure, percent

LINES = (
    ("test_mse", RED, "optimised"),
    ("stat_p_test_mse", ORANGE, "StatP, not optimised"),
    ("flip_test_mse", BLUE, "rows with flipped targets"),
    ("clean_test_mse", QUIET, "no poison"),
)


def draw(name: str, rows: Sequence[Row]) -> Figure:
    """A panel per learner."""
    kinds = distinct(rows, "learner")
    fig = new_figure(5.4 * len(kinds), 4.4)
    panels = fig.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        here = where(rows, learner=kind)
        rates = sorted(distinct(here, "rate"))
        for cell, colour, label in LINES:
            draw_curve(axes, rates, table(here, cell, "rate", rates), colour, label)
        axes.set(title=f"{name}, {kind}", xlabel="poisoning rate", yscale="log")
        axes.xaxis.set_major_formatter(FuncFormatter(percent))
    panels[0].set_ylabel("mean square error on test rows")
    panels[-1].legend(loc="best")
    explain(fig, len(distinct(rows, "seed")))
    return fig
