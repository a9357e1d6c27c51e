"""The picture of `label-flips`: test error against the number of flipped labels."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from .curves import draw_curve
from .style import BLUE, INK, QUIET, RED, new_figure, percent

if TYPE_CHECKING:
    from benchmarks.experiments.flips.label_flips import Options


def draw(options: "Options", rows: list[dict]) -> Figure:
    """A panel per learner."""
    fig = new_figure(1.2 + 4.2 * len(options.learners), 4.4)
    panels = fig.subplots(1, len(options.learners), squeeze=False, sharey=True)[0]
    budgets = sorted(options.budgets)
    for axes, kind in zip(panels, options.learners, strict=True):
        here = [row for row in rows if row["learner"] == kind]
        random, greedy, ranked = (_errors(here, budgets, n) for n in ("random", "greedy", "ranked"))
        last = [row for row in here if row["budget"] == budgets[-1]]
        many, few = (max(row[f"{n}_trainings"] for row in last) for n in ("greedy", "ranked"))
        draw_curve(axes, [0, *budgets], random, BLUE, "at random")
        draw_curve(axes, [0, *budgets], ranked, RED, f"by hypergradient, {few} trainings")
        # dashed, on top: often it is the same curve
        name = f"greedy, {many} trainings"
        axes.plot([0, *budgets], greedy.mean(axis=1), color=INK, ls=(0, (3, 3)), lw=1.6, label=name)
        axes.set(title=kind, xlabel=f"flipped labels of {options.train}")
        axes.yaxis.set_major_formatter(FuncFormatter(percent))
        axes.legend(loc="upper left")
    top = max(row[f"{n}_test_err"] for row in rows for n in ("random", "greedy", "ranked"))
    panels[0].set(ylabel="test error", ylim=(0, 1.3 * top))
    fig.supxlabel(
        f"{options.data}; mean of {options.splits} splits, band: one standard deviation, dotted: "
        "the worst split",
        fontsize=10,
        color=QUIET,
    )
    return fig


def _errors(rows: list[dict], budgets: list[int], name: str) -> np.ndarray:
    """(budgets + 1, splits), without flips first."""
    errors = [[row["clean_test_err"] for row in rows if row["budget"] == budgets[0]]]
    for budget in budgets:
        errors.append([row[f"{name}_test_err"] for row in rows if row["budget"] == budget])
    return np.array(errors)
