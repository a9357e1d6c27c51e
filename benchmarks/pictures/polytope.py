"""Colliding features: base images, poison, their difference and the target; success by victim."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import ArrayLike
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.rows import Row, distinct, where

from .style import BLUE, GREEN, QUIET, RED, new_figure, percent

COLOURS = {"frogs": GREEN, "polytope": BLUE, "bullseye": RED, "random": QUIET}


def gallery(cells: np.ndarray, base: ArrayLike, poison: ArrayLike, target: ArrayLike) -> None:
    """Fill cells (k, 4) of a figure with k images each: base, poison, difference, target. The
    difference is scaled to the largest one, grey is none.
    """
    names = "base", "poison", "difference", "target"
    change = np.asarray(poison) - np.asarray(base)
    shown = 0.5 + 0.5 * change / max(float(np.max(np.abs(change))), 1e-9)
    for i, line in enumerate(cells):
        for name, axes, row in zip(names, line, (base, poison, shown, target), strict=True):
            image = np.asarray(row)[i]
            axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)
            axes.set_axis_off()
            if i == 0:
                axes.set_title(name, fontsize=10, color=QUIET)


def draw(rows: Sequence[Row], bases: ArrayLike, moved: ArrayLike, targets: ArrayLike) -> Figure:
    """Above: bars of success with their intervals. Below: the first poison of three targets."""
    fig = new_figure(11.0, 7.5)
    parts: Any = fig.subfigures(2, 1, height_ratios=(1, 1.1))
    depths = distinct(rows, "trained")
    panels = parts[0].subplots(1, len(depths), squeeze=False)[0]
    for axes, depth in zip(panels, depths, strict=True):
        _bars(axes, where(rows, trained=depth), depth)
    panels[-1].legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    base, poison, target = (np.asarray(images)[:3] for images in (bases, moved, targets))
    gallery(parts[1].subplots(3, 4), base[:, 0], poison[:, 0], target)
    return fig


def _bars(axes: Axes, rows: Sequence[Row], depth: str) -> None:
    victims, rules = distinct(rows, "victim"), distinct(rows, "poison")
    for i, rule in enumerate(rules):
        of = where(rows, poison=rule)
        share = np.array([row["success"] for row in of])
        ends = np.array([[row["success"] - row["low"], row["high"] - row["success"]] for row in of])
        place = np.arange(len(victims)) + 0.2 * (i - (len(rules) - 1) / 2)
        axes.bar(place, share, 0.19, color=COLOURS[rule], label=rule)
        axes.errorbar(place, share, np.maximum(ends.T, 0), fmt="none", ecolor=QUIET, lw=1.2)
    axes.set_xticks(range(len(victims)), victims)
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    axes.set_ylim(0, 1.03)
    axes.grid(axis="x", visible=False)
    axes.set_title(f"victim trains: {'last layer' if depth == 'linear' else 'all layers'}")
