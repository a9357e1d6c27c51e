"""Optimised triggers: success of each kind of square, and the squares."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.rows import Row, column, distinct

from .style import QUIET, RED, new_figure, percent


def draw(rows: Sequence[Row]) -> Figure:
    """Bars of success and of clean victims, a line for each seed."""
    fig = new_figure(7.4, 4.6)
    axes = fig.subplots()
    kinds = distinct(rows, "kind")
    success = np.array([column(rows, "success", kind=kind) for kind in kinds])
    clean = np.array([column(rows, "clean_success", kind=kind) for kind in kinds])
    at = np.arange(len(kinds))
    axes.bar(at - 0.18, success.mean(1), 0.34, color=RED, label="attacked")
    axes.bar(at + 0.18, clean.mean(1), 0.34, color=QUIET, label="clean victims")
    axes.plot(at - 0.18, success, "-o", color="black", lw=0.6, ms=2.5, alpha=0.5)
    axes.set_xticks(at, kinds)
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    axes.set_ylabel("attack success")
    axes.legend(loc="upper left")
    return fig


def squares(shown: Mapping[str, Any]) -> Figure:
    """Digits with the square of each kind."""
    count = len(next(iter(shown.values())))
    fig = new_figure(1.3 * count, 1.4 * len(shown))
    for row, (kind, images) in zip(fig.subplots(len(shown), count), shown.items(), strict=True):
        for axes, image in zip(row, images, strict=True):
            axes.imshow(np.asarray(image).reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
            axes.set_axis_off()
        row[0].set_title(kind, fontsize=10)
    return fig
