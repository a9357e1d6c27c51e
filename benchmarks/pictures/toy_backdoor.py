"""A backdoor in linear models: share and penalty, strength in training, direction."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.rows import Row, column, distinct, where

from .style import BLUE, INK, RED, new_figure, percent


def draw(rows: Sequence[Row]) -> Figure:
    """Two heat maps of success; below, strength and direction of the trigger for ridge."""
    fig = new_figure(11.0, 8.0)
    panels = fig.subplots(2, 2)
    shares = where(rows, part="share")
    for axes, learner in zip(panels[0], distinct(shares, "learner"), strict=False):
        _map(axes, where(shares, learner=learner))
        axes.set_title(f"{learner}: attack success")
    _strength(panels[1, 0], where(rows, part="strength"))
    _direction(panels[1, 1], where(rows, part="direction"))
    return fig


def _map(axes: Axes, rows: Sequence[Row]) -> None:
    l2s, shares = distinct(rows, "l2"), distinct(rows, "share")
    means = np.array(
        [[np.mean(column(rows, "success", l2=l2, share=s)) for s in shares] for l2 in l2s]
    )
    axes.imshow(means, cmap="OrRd", vmin=0, vmax=1, aspect="auto")
    for i, j in np.ndindex(means.shape):
        axes.text(
            j, i, f"{means[i, j]:.2f}", ha="center", va="center", fontsize=10,
            color="white" if means[i, j] > 0.6 else INK,
        )  # fmt: skip
    axes.set_xticks(range(len(shares)), [percent(s) for s in shares])
    axes.set_yticks(range(len(l2s)), [f"{l2:g}" for l2 in l2s])
    axes.set_xlabel("stamped copies")
    axes.set_ylabel("penalty")
    axes.grid(False)


def _strength(axes: Axes, rows: Sequence[Row]) -> None:
    strengths = distinct(rows, "strength")
    for name, words, colour in (
        ("success", "attack success", RED), ("test_err", "clean error", BLUE)
    ):  # fmt: skip
        values = np.array([column(rows, name, strength=s) for s in strengths])
        mean, spread = values.mean(1), values.std(1)
        axes.plot(strengths, mean, color=colour, label=words)
        axes.fill_between(strengths, mean - spread, mean + spread, color=colour, alpha=0.2, lw=0)
    axes.axvline(float(np.mean(column(rows, "peak"))), color=INK, lw=1, ls=":", label="closed form")
    axes.set_xscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    axes.set_xlabel("strength in training (1 in the test)")
    axes.set_title("ridge: the peak")
    axes.legend()


def _direction(axes: Axes, rows: Sequence[Row]) -> None:
    axes.plot(column(rows, "variance"), column(rows, "success"), "o", color=RED, ms=4, alpha=0.5)
    axes.set_xscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    axes.set_xlabel("variance of the digits along the trigger")
    axes.set_title("ridge: the direction")
