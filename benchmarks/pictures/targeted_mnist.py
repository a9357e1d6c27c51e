"""Success of a targeted attack against what it costs elsewhere."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from .style import BLUE, new_figure, percent, ramp


def draw(options, rows: list[dict]) -> Figure:
    """A dot per split, a diamond for the mean of a weight; and the same rows, not moved."""
    fig = new_figure(6.4, 4.6)
    axes = fig.subplots()
    keeps = sorted({row["keep"] for row in rows})
    for keep, colour in zip(keeps, ramp(len(keeps)), strict=True):
        found = [row for row in rows if row["keep"] == keep]
        lost = [row["rest_err"] - row["clean_rest_err"] for row in found]
        success = [row["success"] for row in found]
        axes.scatter(lost, success, color=colour, s=20)
        axes.scatter(
            np.mean(lost), np.mean(success), color=colour, marker="D", s=70,
            label=f"optimised, weight of the rest {keep:g}",
        )  # fmt: skip
    axes.scatter(
        [row["flip_rest_err"] - row["clean_rest_err"] for row in rows],
        [row["flip_success"] for row in rows], color=BLUE, label="labels flipped, not moved",
    )  # fmt: skip
    axes.set(
        title=f"{options.source} taken for {options.wanted}, {percent(options.rate)} poison",
        xlabel="accuracy lost on other digits", ylabel="success on unseen digits", ylim=(0, 1),
    )  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(percent))
    axes.legend(loc="lower right", fontsize=10)
    return fig
