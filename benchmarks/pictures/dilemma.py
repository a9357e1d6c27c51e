"""The dilemma: error with and without TRIM, and the share of poison removed, against the radius."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from .style import BLUE, ORANGE, QUIET, RED, new_figure, percent

COLOURS = {"plain": BLUE, "hard": ORANGE, "soft": RED}


def draw(options, rows: list[dict]) -> Figure:
    """A column per set: errors above, what TRIM removes below."""
    fig = new_figure(5.6 * len(options.sets), 7)
    panels = fig.subplots(2, len(options.sets), squeeze=False, sharex=True, height_ratios=(2, 1))

    def curve(axes, name, attacker, cell, **style):
        values = np.array([
            [r[cell] / (r["clean_test_mse"] if cell.endswith("mse") else 1) for r in rows
             if (r["set"], r["attacker"], r["radius"]) == (name, attacker, radius)]
            for radius in options.radii
        ])  # fmt: skip
        mean = values.mean(axis=1)
        axes.fill_between(
            options.radii, values.min(axis=1), values.max(axis=1), alpha=0.1, lw=0,
            color=COLOURS[attacker],
        )  # fmt: skip
        axes.plot(options.radii, mean, color=COLOURS[attacker], marker="o", ms=4, **style)

    for column, name in enumerate(options.sets):
        above, below = panels[:, column]
        for attacker in options.attackers:
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
        f"{100 * options.rate:.0f} % poison, {options.strength} ridge; mean of {options.seeds} "
        "splits, band: least and largest",
        fontsize=10, color=QUIET,
    )  # fmt: skip
    return fig
