"""TRIM and its peers: test error by attacker, at the paper's strength and at the tuned one."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from benchmarks.rows import Row, distinct, where

from .style import BLUE, GREEN, ORANGE, QUIET, RED, new_figure

BARS = (
    ("test_mse", QUIET, "no defense"),
    ("trim_test_mse", RED, "TRIM"),
    ("restarts_test_mse", ORANGE, "TRIM, restarts"),
    ("huber_test_mse", BLUE, "Huber"),
    ("ransac_test_mse", GREEN, "RANSAC"),
)


def draw(name: str, rows: Sequence[Row]) -> Figure:
    """A panel per strength: the splits at the highest rate as dots, their mean as a bar."""
    rate = max(r["rate"] for r in rows)
    strengths = distinct(rows, "strength")
    attackers = distinct(rows, "attacker")
    fig = new_figure(5.6 * len(strengths), 4.6)
    panels = fig.subplots(1, len(strengths), squeeze=False, sharey=True)[0]
    for axes, strength in zip(panels, strengths, strict=True):
        for i, attacker in enumerate(attackers):
            here = where(rows, attacker=attacker, strength=strength, rate=rate)
            for j, (cell, colour, label) in enumerate(BARS):
                values = np.array([r[cell] / r["clean_test_mse"] for r in here])
                at = i + (j - 2) * 0.16
                axes.plot(
                    [at - 0.06, at + 0.06], [values.mean()] * 2, color=colour, lw=3,
                    label=label if i == 0 else None,
                )  # fmt: skip
                axes.plot(np.full(len(values), at), values, ".", color=colour, alpha=0.5)
        axes.axhline(1, color=QUIET, lw=1)
        axes.set_xticks(range(len(attackers)), attackers)
        axes.set(title=f"{name}, {strength} strength", yscale="log", xlabel="attacker")
    panels[0].set_ylabel("test MSE, of that of clean rows")
    panels[-1].legend(loc="best", fontsize=10)
    fig.supxlabel(f"{100 * rate:.0f} % poison; bar: mean of the splits", fontsize=10, color=QUIET)
    return fig
