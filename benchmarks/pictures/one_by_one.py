"""Test error of a poisoned network against the number of points."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.rows import Row, distinct

from .curves import draw_curve, explain, table
from .style import BLUE, new_figure, percent, ramp


def draw(rows: Sequence[Row]) -> Figure:
    """Left: the initial weights that the attacker knew; right: others."""
    fig = new_figure(9.6, 4.6)
    points = sorted(distinct(rows, "points"))
    red = ramp(1)[0]
    for axes, title, names in zip(
        fig.subplots(1, 2, sharey=True),
        ("the initial weights of the attack", "other initial weights"),
        (("test_err", "flip_err"), ("fresh_err", "fresh_flip_err")),
        strict=True,
    ):
        draw_curve(axes, points, table(rows, names[0], "points", points), red, "optimised")
        draw_curve(axes, points, table(rows, names[1], "points", points), BLUE, "not moved")
        axes.set(title=title, xlabel="poison rows in the training set")
        axes.yaxis.set_major_formatter(FuncFormatter(percent))
    fig.axes[0].set_ylabel("test error")
    fig.axes[0].legend(loc="upper left", fontsize=10)
    explain(fig, len(distinct(rows, "split")))
    return fig
