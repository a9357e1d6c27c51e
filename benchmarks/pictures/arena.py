"""The arena as heat maps: what poison costs with each defense, unaware of it and adapted to it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from benchmarks.rows import Row, column, distinct, where

from .style import INK, QUIET, new_figure


def draw(
    rows: Sequence[Row], attacks: Sequence[str], adapted: Sequence[str], learners: Sequence[str],
    defenses: Sequence[str],
) -> Figure:  # fmt: skip
    """A row per defense, a column per attack and learner, at the highest rate.

    - `adapted`: those of the attacks that can be adapted to a defense: the second panel.
    """
    rate = max(row["rate"] for row in rows)
    strongest = where(rows, rate=rate)
    shown = (
        ("unaware_err", "attacker unaware of the defense", attacks),
        ("adapted_err", "adapted to it", adapted),
    )
    panels = [panel for panel in shown if panel[2]]
    widths = [len(names) * len(learners) for *_, names in panels]
    fig = new_figure(3.2 + 0.72 * sum(widths), 2.2 + 0.62 * (1 + len(defenses)))
    grid = fig.subplots(1, len(panels), sharey=True, squeeze=False, width_ratios=widths)[0]

    def errors(cell: str, columns: Sequence[tuple[str, str]], **which) -> list[np.ndarray]:
        """In per cent; without a defense each is there once for every defense."""
        some = {"defense": defenses[0], **which}
        cells = [column(strongest, cell, attack=a, learner=k, **some) for a, k in columns]
        return [100 * np.array(cell) for cell in cells]

    for axes, (cell, title, names) in zip(grid, panels, strict=True):
        columns = [(a, k) for a in names for k in learners]
        values = np.array([
            errors("undefended_err", columns),
            *(errors(cell, columns, defense=name) for name in defenses),
        ])  # fmt: skip
        values, spread = values.mean(axis=-1), values.std(axis=-1)
        axes.imshow(values, cmap="OrRd", vmin=0, vmax=45, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            colour = "white" if value > 28 else INK
            axes.text(
                j, i, f"{value:.0f} ± {spread[i, j]:.0f}", ha="center", va="center", fontsize=10,
                color=colour,
            )  # fmt: skip
        axes.grid(False)
        axes.set_title(title, fontsize=12)
        axes.set_xticks(range(len(columns)), [k for _, k in columns], rotation=45, ha="right")
        axes.set_yticks(range(1 + len(defenses)), ["no defense", *defenses])
        axes.tick_params(length=0)
        for i, attack in enumerate(names):
            middle = (i + 0.5) * len(learners) - 0.5
            axes.annotate(
                attack, (middle, len(defenses) + 0.5), xytext=(0, -64), ha="center", color=INK,
                textcoords="offset points", annotation_clip=False, fontsize=12,
            )  # fmt: skip
    splits = len(distinct(rows, "seed"))
    fig.suptitle(
        f"test error in %, {100 * rate:.0f} % poison; mean and standard deviation of {splits} "
        "splits", fontsize=11, color=QUIET,
    )  # fmt: skip
    return fig
