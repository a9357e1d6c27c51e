"""Success of a targeted attack against what it costs elsewhere."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.rows import Row, column, distinct, where

from .style import BLUE, new_figure, percent, ramp


def draw(rows: Sequence[Row], source: int, wanted: int, rate: float) -> Figure:
    """A dot per split, a diamond for the mean of a weight; and the same rows, not moved."""
    fig = new_figure(6.4, 4.6)
    axes = fig.subplots()
    keeps = sorted(distinct(rows, "keep"))
    for keep, colour in zip(keeps, ramp(len(keeps)), strict=True):
        lost = [row["rest_err"] - row["clean_rest_err"] for row in where(rows, keep=keep)]
        success = column(rows, "success", keep=keep)
        axes.scatter(lost, success, color=colour, s=20)
        axes.scatter(
            np.mean(lost), np.mean(success), color=colour, marker="D", s=70,
            label=f"optimised, weight of the rest {keep:g}",
        )  # fmt: skip
    axes.scatter(
        [row["flip_rest_err"] - row["clean_rest_err"] for row in rows],
        column(rows, "flip_success"), color=BLUE, label="labels flipped, not moved",
    )  # fmt: skip
    axes.set(
        title=f"{source} taken for {wanted}, {percent(rate)} poison",
        xlabel="accuracy lost on other digits", ylabel="success on unseen digits", ylim=(0, 1),
    )  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(percent))
    axes.legend(loc="lower right", fontsize=10)
    return fig
