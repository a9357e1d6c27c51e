"""The dilemma: error with and without TRIM, and the share of poison removed, against the radius."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.rows import Row, distinct, where

from .style import BLUE, ORANGE, QUIET, RED, new_figure, percent

COLOURS = {"plain": BLUE, "hard": ORANGE, "soft": RED}


def draw(rows: Sequence[Row], rate: float, strength: str) -> Figure:
    """A column per set: errors above, what TRIM removes below."""
    sets, radii = distinct(rows, "set"), sorted(distinct(rows, "radius"))
    fig = new_figure(5.6 * len(sets), 7)
    panels = fig.subplots(2, len(sets), squeeze=False, sharex=True, height_ratios=(2, 1))

    def curve(axes, name, attacker, cell, **style):
        values = np.array([
            [r[cell] / (r["clean_test_mse"] if cell.endswith("mse") else 1)
             for r in where(rows, set=name, attacker=attacker, radius=radius)]
            for radius in radii
        ])  # fmt: skip
        mean, spread = values.mean(axis=1), values.std(axis=1)
        axes.fill_between(
            radii, mean - spread, mean + spread, alpha=0.1, lw=0, color=COLOURS[attacker]
        )
        axes.plot(radii, mean, color=COLOURS[attacker], marker="o", ms=4, **style)

    for column, name in enumerate(sets):
        above, below = panels[:, column]
        for attacker in distinct(rows, "attacker"):
            if attacker == "plain":
                label = "plain attacker, no defense"
                curve(above, name, attacker, "test_mse", ls="--", label=label)
            label = f"{attacker} attacker, behind TRIM"
            curve(above, name, attacker, "trimmed_test_mse", label=label)
            curve(below, name, attacker, "poison_removed")
        above.axhline(1, color=QUIET, lw=1)
        above.set(title=name, xscale="log", yscale="log")
        below.set(xlabel="largest residual of poison under the clean model", ylim=(0, 1.03))
        below.yaxis.set_major_formatter(FuncFormatter(percent))
    panels[0, 0].set_ylabel("test MSE, of that of clean rows")
    panels[1, 0].set_ylabel("poison removed")
    panels[0, 0].legend(loc="best")
    fig.supxlabel(
        f"{100 * rate:.0f} % poison, {strength} ridge; mean of {len(distinct(rows, 'seed'))} "
        "splits, band: one standard deviation",
        fontsize=10, color=QUIET,
    )  # fmt: skip
    return fig
