"""The arena as heat maps: what poison costs with each defense, unaware of it and adapted to it."""

import numpy as np
from matplotlib.figure import Figure

from .style import INK, QUIET, new_figure

PANELS = (("unaware_err", "attacker unaware of the defense"), ("adapted_err", "adapted to it"))


def draw(options, rows: list[dict]) -> Figure:
    """A row per defense, a column per attack and learner, at the highest rate."""
    rate = max(options.rates)
    columns = [(a, k) for a in options.attacks for k in options.learners]
    names = ["no defense", *options.defenses]
    fig = new_figure(3.6 + 1.1 * 2 * len(columns) / 2, 2.2 + 0.62 * len(names))
    panels = fig.subplots(1, 2, sharey=True)

    def mean(cell: str, attack: str, kind: str, name: str) -> float:
        key = (attack, kind, rate)
        found = [
            r[cell]
            for r in rows
            if (r["attack"], r["learner"], r["rate"]) == key
            and (name == "no defense" or r["defense"] == name)
        ]
        return 100 * float(np.mean(found))

    for axes, (cell, title) in zip(panels, PANELS, strict=True):
        values = np.array([
            [mean("undefended_err" if n == "no defense" else cell, a, k, n) for a, k in columns]
            for n in names
        ])  # fmt: skip
        axes.imshow(values, cmap="OrRd", vmin=0, vmax=45, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            colour = "white" if value > 28 else INK
            axes.text(j, i, f"{value:.0f}", ha="center", va="center", color=colour)
        axes.grid(False)
        axes.set_title(title, fontsize=12)
        axes.set_xticks(range(len(columns)), [k for _, k in columns], rotation=45, ha="right")
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(length=0)
        for i, attack in enumerate(options.attacks):
            middle = (i + 0.5) * len(options.learners) - 0.5
            axes.annotate(
                attack, (middle, len(names) - 0.5), xytext=(0, -64), ha="center", color=INK,
                textcoords="offset points", annotation_clip=False, fontsize=12,
            )  # fmt: skip
    fig.suptitle(
        f"test error in %, {100 * rate:.0f} % poison, mean of {options.seeds} splits",
        fontsize=11, color=QUIET,
    )  # fmt: skip
    return fig
