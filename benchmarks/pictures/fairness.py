"""Disparity and error against the share of poison; the plane with poison and boundaries."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.rows import Row, distinct, where

from .style import BLUE, GREEN, INK, ORANGE, QUIET, RED, new_figure, percent

LINES = {
    "impact": (RED, "-"), "impact-1-point": (RED, "--"), "hide": (GREEN, "-"),
    "influence": (ORANGE, "-"), "anchors-popular": (ORANGE, ":"), "solans": (BLUE, "-"),
    "error-generic": (INK, "-"), "group-flips": (QUIET, "--"), "random-flips": (QUIET, "-"),
}  # fmt: skip
PANELS = (
    ("impact", "disparate impact"),
    ("test_err", "test error"),
    ("fnr_0", "false negatives, unprivileged"),
)
"""Columns of the rows, and what they are."""


def _values(rows: Sequence[Row], name: str, shares: Sequence[float], attacker: str) -> np.ndarray:
    """(shares, draws), those without poison first."""
    columns = [where(rows, attacker="none" if s == 0 else attacker, share=s) for s in shares]
    return np.array(
        [[np.nan if r[name] is None else r[name] for r in column] for column in columns], float
    )


def draw(name: str, rows: Sequence[Row]) -> Figure:
    """A panel per figure, a curve per attacker: means over draws; band: one standard deviation."""
    figure = new_figure(13.5, 4.8)
    # Attackers at an equal loss of accuracy, who have no curve, may have a share of their own.
    shares = sorted({row["share"] for row in rows if row["attacker"] in ("none", *LINES)})
    panels = figure.subplots(1, len(PANELS))
    for axes, (cell, words) in zip(panels, PANELS, strict=True):
        for attacker, (colour, style) in LINES.items():
            values = _values(rows, cell, shares, attacker)
            mean, spread = np.nanmean(values, axis=1), np.nanstd(values, axis=1)
            axes.plot(shares, mean, color=colour, ls=style, marker="o", ms=3, label=attacker)
            if attacker in ("impact", "hide", "error-generic"):
                axes.fill_between(shares, mean - spread, mean + spread, color=colour, alpha=0.12,
                                  lw=0)  # fmt: skip
        axes.set(title=words, xlabel="share of poison")
        axes.xaxis.set_major_formatter(FuncFormatter(percent))
    panels[0].set_title(f"{name}: disparate impact")
    panels[0].axhline(1, color=QUIET, lw=1)
    panels[0].axhline(0.8, color=QUIET, lw=1, ls=":")
    panels[0].set(ylim=(0, 1.5))
    panels[1].yaxis.set_major_formatter(FuncFormatter(percent))
    panels[2].yaxis.set_major_formatter(FuncFormatter(percent))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=10)
    many = len(distinct(rows, "seed"))
    figure.supxlabel(f"mean of {many} draws, band: one standard deviation", fontsize=10,
                     color=QUIET)  # fmt: skip
    return figure


def draw_plane(train: Any, poison: Mapping[str, Any], distance: float) -> Figure:
    """Training rows (x, y, group) in the plane; for each attacker its poison, and the boundary of
    logistic regression before and after.
    """
    figure = new_figure(6.0 * len(poison) + 0.5, 5.6)
    for axes, (name, rows) in zip(
        figure.subplots(1, len(poison), squeeze=False)[0], poison.items(), strict=True
    ):
        for group, marker in ((0, "x"), (1, "o")):
            for label, colour in ((1, BLUE), (-1, ORANGE)):
                here = (train.group == group) & (train.y == label)
                axes.scatter(*train.x[here].T, s=14, marker=marker, color=colour, alpha=0.45, lw=1)
        for label, colour in ((1, BLUE), (-1, ORANGE)):
            here = rows.y == label
            axes.scatter(*rows.x[here].T, s=70, marker="*", color=colour, edgecolor=INK, lw=0.8,
                         zorder=3)  # fmt: skip
        _boundary(axes, train.x, train.y, "--")
        both = np.concatenate([train.x, rows.x]), np.concatenate([train.y, rows.y])
        _boundary(axes, *both, "-")
        low, high = train.x.min(axis=0), train.x.max(axis=0)
        axes.set(title=f"{name}, distance {distance:g}", xticks=[], yticks=[],
                 xlim=(low[0] - 1, high[0] + 1), ylim=(low[1] - 1, high[1] + 1))  # fmt: skip
    figure.supxlabel(
        "blue: favourable, orange: not; crosses: unprivileged, circles: privileged; stars: poison; "
        "boundary without (dashed) and with it", fontsize=9, color=QUIET,
    )  # fmt: skip
    return figure


def _boundary(axes: Axes, x: np.ndarray, y: np.ndarray, style: str) -> None:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(tol=1e-8, max_iter=10_000).fit(x, y)
    low, high = x.min(axis=0) - 1, x.max(axis=0) + 1
    axis = [np.linspace(a, b, 80) for a, b in zip(low, high, strict=True)]
    plane = np.stack(np.meshgrid(*axis), axis=-1)
    f = model.decision_function(plane.reshape(-1, 2)).reshape(80, 80)
    axes.contour(*axis, f, levels=[0.0], colors=[INK], linestyles=style, linewidths=1.8)
