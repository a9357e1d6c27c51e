"""Error of poisoned classifiers against the number of poison points."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from .curves import draw_curve
from .style import BLUE, QUIET, RED, new_figure, percent

LINES = (
    ("test_err", RED, "optimised"),
    ("flip_test_err", BLUE, "flipped and not moved"),
    ("clean_test_err", QUIET, "no poison"),
)


def draw(name: str, train: int, rows: list[dict]) -> Figure:
    """A panel per learner."""
    fig = new_figure(10, 4.2)
    kinds = sorted({row["learner"] for row in rows}, reverse=True)
    panels = fig.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        points = sorted({r["points"] for r in rows if r["learner"] == kind})
        for cell, colour, label in LINES:
            values = [
                [r[cell] for r in rows if (r["learner"], r["points"]) == (kind, m)] for m in points
            ]
            draw_curve(axes, points, np.array(values), colour, label)
        axes.set(
            title=f"{name}, {kind}",
            xlabel=f"poison points beside {train} training rows",
        )
        axes.yaxis.set_major_formatter(FuncFormatter(percent))
    panels[0].set(ylabel="error on test rows", ylim=(0, None))
    panels[0].legend(loc="upper left")
    return fig
