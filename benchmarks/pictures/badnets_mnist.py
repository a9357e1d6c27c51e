"""BadNets: success against the share of copies; the filters and units that answer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.rows import Row, column, distinct, where

from .style import BLUE, ORANGE, QUIET, RED, new_figure, percent

WORDS = {"one": "all to one", "next": "each to the next"}


def draw(rows: Sequence[Row]) -> Figure:
    """Success of both label maps, and of clean victims; below, clean accuracy."""
    fig = new_figure(7.0, 6.4)
    above, below = fig.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for name, colour in zip(distinct(rows, "map"), (RED, ORANGE), strict=False):
        mine = sorted(where(rows, map=name, kind="backdoor"), key=lambda row: row["share"])
        shares = column(mine, "share")
        for axes, what in ((above, "success"), (below, "accuracy")):
            axes.plot(shares, column(mine, what), "o-", color=colour, label=WORDS[name])
            low, high = column(mine, f"{what}_low"), column(mine, f"{what}_high")
            axes.fill_between(shares, low, high, color=colour, alpha=0.15, lw=0)
        above.plot(shares, column(mine, "clean_success"), ":", color=colour)
        below.plot(shares, column(mine, "clean_accuracy"), ":", color=BLUE)
    above.set_xscale("log")
    above.set_ylim(-0.02, 1.02)
    below.set_ylim(0.9, 1.0)
    below.set_xlabel("stamped copies (dotted: clean victims)")
    above.set_ylabel("attack success")
    below.set_ylabel("clean accuracy")
    for axes in (above, below):
        axes.yaxis.set_major_formatter(FuncFormatter(percent))
        axes.xaxis.set_major_formatter(FuncFormatter(percent))
    above.legend()
    return fig


def units(
    images: Sequence[np.ndarray], filters: Sequence[np.ndarray], sides: Sequence[Any]
) -> Figure:
    """Digits without and with the trigger; then, of a clean and a backdoored victim, the filters of
    the first layer, and the outputs of the last convolution's units without the trigger, with it,
    and the difference.

    - `images`: two arrays (n, 28, 28, 1). `filters`: (k, k, 1, c). `sides`: `Response`s.
    """
    fig = new_figure(11.0, 6.6)
    top, *rows = fig.subfigures(3, 1, height_ratios=(0.8, 1, 1), squeeze=False)[:, 0]
    for axes, image in zip(top.subplots(1, 8), np.concatenate(images), strict=True):
        axes.imshow(image[..., 0], cmap="gray_r", vmin=0, vmax=1)
        axes.set_axis_off()
    most = max(float(np.max(side.stamped)) for side in sides)
    for row, name, of, side in zip(
        rows, ("clean victim", "backdoored victim"), filters, sides, strict=True
    ):
        left, right = row.subfigures(1, 2, squeeze=False)[0]
        left.suptitle(f"{name}: filters of the first layer", fontsize=10, color=QUIET)
        for axes, k in zip(
            left.subplots(2, of.shape[-1] // 2).flat, range(of.shape[-1]), strict=True
        ):
            axes.imshow(of[:, :, 0, k], cmap="RdBu_r", vmin=-0.8, vmax=0.8)
            axes.set_axis_off()
        right.suptitle("units of the last: without, with, difference", fontsize=10, color=QUIET)
        shown = (side.without, side.stamped, side.stamped - side.without)
        for axes, values in zip(right.subplots(1, 3), shown, strict=True):
            axes.imshow(tiled(values), cmap="OrRd", vmin=0, vmax=most)
            axes.set_axis_off()
    return fig


def tiled(values: np.ndarray) -> np.ndarray:
    """(height, width, filters) as one picture: a tile for each filter, eight in a row."""
    height, width, count = values.shape
    tiles = np.full((-(-count // 8) * (height + 1), 8 * (width + 1)), np.nan)
    for k in range(count):
        i, j = (k // 8) * (height + 1), (k % 8) * (width + 1)
        tiles[i : i + height, j : j + width] = values[:, :, k]
    return tiles
