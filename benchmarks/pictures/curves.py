"""Security curves: how bad it gets as the attacker gets stronger, over several seeds."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.rows import Row, column

from .style import QUIET


def table(
    rows: Sequence[Row], name: str, axis: str, strengths: Sequence[float], **cells
) -> np.ndarray:
    """A column of the rows with these cells as an array (strengths, seeds).

    - `axis`: the column that holds the strength of the attack.
    """
    return np.array([column(rows, name, **{axis: s}, **cells) for s in strengths])


def draw_curve(
    axes: Axes, strength: Sequence[float], values: np.ndarray, colour, name: str
) -> None:
    """Mean over seeds with a band of one standard deviation, and the worst seed, dotted.

    - `strength`: (k,) rates or budgets.
    - `values`: (k, seeds), larger is worse.
    """
    mean, spread = values.mean(axis=1), values.std(axis=1)
    axes.fill_between(strength, mean - spread, mean + spread, color=colour, alpha=0.15, lw=0)
    axes.plot(strength, mean, color=colour, marker="o", ms=4, label=name)
    axes.plot(strength, values.max(axis=1), color=colour, lw=1, ls=":")


def explain(figure: Figure, splits: int, before: str = "") -> None:
    """Write below the figure what the curves, bands and dots stand for."""
    text = f"mean of {splits} splits, band: one standard deviation, dotted: the worst split"
    figure.supxlabel(before + text, fontsize=10, color=QUIET)
