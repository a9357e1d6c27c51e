"""The picture of `label-sanitisation`: test error against the number of flipped labels."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from .curves import draw_curve
from .style import BLUE, INK, ORANGE, QUIET, RED, new_figure, percent

if TYPE_CHECKING:
    from benchmarks.experiments.flips.label_sanitisation import Options

CURVES = (
    ("unaware", "", INK, "no defense, greedy"),
    ("unaware", "_defended", BLUE, "defended, greedy unaware of it"),
    ("aware", "_defended", ORANGE, "defended, greedy on Relabel"),
    ("soft", "_defended", RED, "defended, greedy on SoftRelabel"),
)


def draw(options: "Options", rows: list[dict]) -> Figure:
    """A panel per learner."""
    fig = new_figure(1.2 + 5 * len(options.learners), 4.6)
    panels = fig.subplots(1, len(options.learners), squeeze=False, sharey=True)[0]
    budgets = sorted(options.budgets)
    for axes, kind in zip(panels, options.learners, strict=True):
        here = [row for row in rows if row["learner"] == kind]
        for attack, defended, colour, name in CURVES:
            cells = f"clean{defended}_err", f"{attack}{defended}_err"
            draw_curve(axes, [0, *budgets], _errors(here, budgets, *cells), colour, name)
        axes.set(title=kind, xlabel=f"flipped labels of {options.train}", xticks=[0, *budgets])
        axes.yaxis.set_major_formatter(FuncFormatter(percent))
    top = max(row[f"{attack}{defended}_err"] for row in rows for attack, defended, *_ in CURVES)
    panels[0].set(ylabel="test error", ylim=(0, 1.4 * top))
    panels[0].legend(loc="upper left")
    fig.supxlabel(
        f"breast cancer; mean of {options.splits} splits, band: one standard deviation, dotted: "
        "the worst split",
        fontsize=10,
        color=QUIET,
    )
    return fig


def _errors(rows: list[dict], budgets: list[int], clean: str, cell: str) -> np.ndarray:
    """(budgets + 1, splits), without flips first."""
    errors = [[row[clean] for row in rows if row["budget"] == budgets[0]]]
    for budget in budgets:
        errors.append([row[cell] for row in rows if row["budget"] == budget])
    return np.array(errors)
