"""Poison digits of a convolutional network, and the errors that they cause."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.rows import Row, column, distinct

from .style import new_figure, percent, ramp

NAMES = {"same_err": "known weights", "fresh_err": "fresh weights", "other_err": "dense network"}


def draw(rows: Sequence[Row]) -> Figure:
    """A group of bars per attacker, a bar per victim with the deviation over seeds."""
    fig = new_figure(8.0, 4.6)
    axes = fig.subplots()
    attackers = distinct(rows, "attacker")
    for i, ((name, words), colour) in enumerate(zip(NAMES.items(), ramp(3), strict=True)):
        values = [np.asarray(column(rows, name, attacker=a)) for a in attackers]
        axes.bar(
            np.arange(len(attackers)) + 0.27 * (i - 1), [v.mean() for v in values], 0.25,
            yerr=[v.std() for v in values], color=colour, label=words,
        )  # fmt: skip
    axes.set_xticks(np.arange(len(attackers)), attackers)
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    axes.set_ylabel("test error")
    axes.legend(loc="upper left", fontsize=10)
    return fig


def digits(start: Any, poison: np.ndarray) -> Figure:
    """Above: the digits as they were, with their new labels; below: moved."""
    count = min(len(poison), 10)
    fig = new_figure(1.1 * count, 2.6)
    for i, axes in enumerate(fig.subplots(2, count, squeeze=False).flat):
        image = (start.x if i < count else poison)[i % count]
        axes.imshow(image.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
        axes.set_axis_off()
        if i < count:
            axes.set_title(str(start.y[i]), fontsize=10)
    return fig
