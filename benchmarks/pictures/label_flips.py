"""The picture of `label-flips`: test error against the number of flipped labels."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.rows import Row, column, distinct, where

from .curves import draw_curve, explain, table
from .style import BLUE, INK, RED, new_figure, percent


def draw(data: str, train: int, rows: Sequence[Row]) -> Figure:
    """A panel per learner."""
    kinds = distinct(rows, "learner")
    fig = new_figure(1.2 + 4.2 * len(kinds), 4.4)
    panels = fig.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    budgets = sorted(distinct(rows, "budget"))
    for axes, kind in zip(panels, kinds, strict=True):
        here = where(rows, learner=kind)
        random, greedy, ranked = (_errors(here, budgets, n) for n in ("random", "greedy", "ranked"))
        many, few = (
            max(column(here, f"{n}_trainings", budget=budgets[-1])) for n in ("greedy", "ranked")
        )
        draw_curve(axes, [0, *budgets], random, BLUE, "at random")
        draw_curve(axes, [0, *budgets], ranked, RED, f"by hypergradient, {few} trainings")
        # dashed, on top: often it is the same curve
        name = f"greedy, {many} trainings"
        axes.plot([0, *budgets], greedy.mean(axis=1), color=INK, ls=(0, (3, 3)), lw=1.6, label=name)
        axes.set(title=kind, xlabel=f"flipped labels of {train}")
        axes.yaxis.set_major_formatter(FuncFormatter(percent))
        axes.legend(loc="upper left")
    top = max(row[f"{n}_test_err"] for row in rows for n in ("random", "greedy", "ranked"))
    panels[0].set(ylabel="test error", ylim=(0, 1.3 * top))
    explain(fig, len(distinct(rows, "split")), f"{data}; ")
    return fig


def _errors(rows: Sequence[Row], budgets: list[int], name: str) -> np.ndarray:
    """(budgets + 1, splits), without flips first."""
    clean = table(rows, "clean_test_err", "budget", budgets[:1])
    return np.concatenate([clean, table(rows, f"{name}_test_err", "budget", budgets)])
