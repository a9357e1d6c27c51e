"""Security curves of regression: test error against the poisoning rate."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from .curves import draw_curve
from .style import BLUE, ORANGE, QUIET, RED, new_figure, percent

LINES = (
    ("test_mse", RED, "optimised"),
    ("stat_p_test_mse", ORANGE, "StatP, not optimised"),
    ("flip_test_mse", BLUE, "rows with flipped targets"),
    ("clean_test_mse", QUIET, "no poison"),
)


def draw(name: str, options, rows: list[dict]) -> Figure:
    """A panel per learner."""
    fig = new_figure(5.4 * len(options.learners), 4.4)
    panels = fig.subplots(1, len(options.learners), squeeze=False, sharey=True)[0]
    for axes, kind in zip(panels, options.learners, strict=True):
        rates = sorted({r["rate"] for r in rows if r["learner"] == kind})
        for cell, colour, label in LINES:
            values = [
                [r[cell] for r in rows if r["learner"] == kind and r["rate"] == rate]
                for rate in rates
            ]
            draw_curve(axes, rates, np.array(values), colour, label)
        axes.set(title=f"{name}, {kind}", xlabel="poisoning rate", yscale="log")
        axes.xaxis.set_major_formatter(FuncFormatter(percent))
    panels[0].set_ylabel("mean square error on test rows")
    panels[-1].legend(loc="best")
    fig.supxlabel(
        f"mean of {options.seeds} splits, band: one standard deviation, dotted: the worst split",
        fontsize=10,
        color=QUIET,
    )
    return fig
