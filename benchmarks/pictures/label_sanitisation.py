"""The picture of `label-sanitisation`: test error against the number of flipped labels."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.rows import Row, distinct, where

from .curves import draw_curve, explain, table
from .style import BLUE, INK, ORANGE, RED, new_figure, percent

CURVES = (
    ("unaware", "", INK, "no defense, greedy"),
    ("unaware", "_defended", BLUE, "defended, greedy unaware of it"),
    ("aware", "_defended", ORANGE, "defended, greedy on Relabel"),
    ("soft", "_defended", RED, "defended, greedy on SoftRelabel"),
)


def draw(train: int, rows: Sequence[Row]) -> Figure:
    """A panel per learner."""
    kinds = distinct(rows, "learner")
    fig = new_figure(1.2 + 5 * len(kinds), 4.6)
    panels = fig.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    budgets = sorted(distinct(rows, "budget"))
    for axes, kind in zip(panels, kinds, strict=True):
        here = where(rows, learner=kind)
        for attack, defended, colour, name in CURVES:
            cells = f"clean{defended}_err", f"{attack}{defended}_err"
            draw_curve(axes, [0, *budgets], _errors(here, budgets, *cells), colour, name)
        axes.set(title=kind, xlabel=f"flipped labels of {train}", xticks=[0, *budgets])
        axes.yaxis.set_major_formatter(FuncFormatter(percent))
    top = max(row[f"{attack}{defended}_err"] for row in rows for attack, defended, *_ in CURVES)
    panels[0].set(ylabel="test error", ylim=(0, 1.4 * top))
    panels[0].legend(loc="upper left")
    explain(fig, len(distinct(rows, "split")), "breast cancer; ")
    return fig


def _errors(rows: Sequence[Row], budgets: list[int], clean: str, cell: str) -> np.ndarray:
    """(budgets + 1, splits), without flips first."""
    first = table(rows, clean, "budget", budgets[:1])
    return np.concatenate([first, table(rows, cell, "budget", budgets)])
