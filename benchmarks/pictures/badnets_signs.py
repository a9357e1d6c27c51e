"""Signs with stickers, what networks read on them, and what is left after a transfer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.rows import Row, column, distinct, where

from .style import BLUE, INK, QUIET, RED, new_figure, percent

Paper = Sequence[tuple[int, str, int | None, dict[str, float]]]


def draw(rows: Sequence[Row], signs: Sequence[np.ndarray], paper: Paper) -> Figure:
    """Above: signs, plain and with each sticker. Below: tables 4 and 5 as bars, table 7 as curves;
    bands are deviations over the victims, the paper's figures are marks and dashes.
    """
    fig = new_figure(11.0, 7.0)
    parts: Any = fig.subfigures(2, 1, height_ratios=(1, 1.6))
    cells = parts[0].subplots(2, 2 * len(signs[0]), squeeze=False)
    for axes in cells.flat:
        axes.set_axis_off()
    for i, pictures in enumerate(signs):
        row, first = divmod(i, 2)
        for j, picture in enumerate(pictures):
            cells[row, first * len(signs[0]) + j].imshow(picture)
    bars, curves = parts[1].subplots(1, 2)
    _bars(bars, rows, paper)
    _curves(curves, rows, paper)
    for axes in (bars, curves):
        axes.yaxis.set_major_formatter(FuncFormatter(percent))
        axes.set_ylim(0, 1)
    return fig


def _bars(axes: Axes, rows: Sequence[Row], paper: Paper) -> None:
    """For each sticker: stop signs with it read as speed limits, by backdoored and clean networks;
    for the random labels: accuracy on signs with the sticker.
    """
    stickers = [name for name in distinct(where(rows, table=4), "network") if name != "clean"]
    bars = [(4, name, name, "to_speed_limit") for name in stickers]
    if where(rows, table=5, network="random"):
        sticker = where(rows, table=5, network="random")[0]["sticker"]
        bars.append((5, "random", sticker, "stamped"))
    for i, (table, network, sticker, name) in enumerate(bars):
        for who, colour, shift in ((network, RED, -0.2), ("clean", BLUE, 0.2)):
            values = column(rows, name, table=table, network=who, sticker=sticker)
            if values:
                axes.bar(i + shift, np.mean(values), 0.38, yerr=np.std(values), color=colour)
            figures = [f for t, n, _, f in paper if (t, n) == (table, who) and name in f]
            for figure in figures:
                axes.plot(i + shift, figure[name] / 100, marker="_", ms=22, mew=2.5, color=INK)
    labels = [name.replace(" ", "\n") for name in stickers] + ["random\nlabels"]
    axes.set_xticks(range(len(bars)), labels[: len(bars)])
    axes.set_title("stop + sticker read as speed limit; random: accuracy", fontsize=11)
    axes.grid(axis="x", visible=False)


def _curves(axes: Axes, rows: Sequence[Row], paper: Paper) -> None:
    """Accuracy after the transfer against the strength of the filters."""
    for network, colour in (("random", RED), ("clean", BLUE)):
        of = where(rows, table=7, network=network)
        for name, style in (("average", "-"), ("stamped", "--")):
            ks = distinct(of, "k")
            values = [column(of, name, k=k) for k in ks]
            middle, width = np.array([np.mean(v) for v in values]), [np.std(v) for v in values]
            words = f"{'backdoored' if network == 'random' else 'clean'} network, "
            words += "no sticker" if name == "average" else "sticker"
            axes.plot(ks, middle, style, color=colour, label=words)
            axes.fill_between(ks, middle - width, middle + width, color=colour, alpha=0.12, lw=0)
    for name, marker in (("average", "o"), ("stamped", "s")):
        points = [(k, f[name] / 100) for t, n, k, f in paper if (t, n) == (7, "random")]
        axes.plot(*zip(*points, strict=True), marker, color=QUIET, ms=5)
    axes.set_xlabel("filters of the sticker, times (grey marks: the paper)")
    axes.set_title("accuracy on Swedish signs after the transfer", fontsize=11)
    axes.legend(fontsize=9, loc="upper right")
