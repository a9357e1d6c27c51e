"""The backdoor arena: success and accuracy behind each defense, one line for each attacker."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .style import INK, new_figure


def draw(rows: Sequence[Mapping[str, Any]], defenses: Sequence[str]) -> Figure:
    """Two panels; a frame marks the attacker who knows the defense. Means over the splits."""
    attacks = list(dict.fromkeys(row["attack"] for row in rows))
    fig = new_figure(1.6 + 0.95 * len(defenses), 2.4 + 1.0 * len(attacks))
    panels = fig.subplots(2, 1, sharex=True)
    looks = (
        ("success", "OrRd", 0.0, "attack success"),
        ("accuracy", "Blues_r", 0.8, "accuracy on clean test digits"),
    )
    for axes, (name, colours, low, title) in zip(panels, looks, strict=True):
        values = np.array([[_mean(rows, a, d, name) for d in defenses] for a in attacks])
        axes.imshow(values, cmap=colours, vmin=low, vmax=1, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            text = "-" if np.isnan(value) else f"{value:.2f}"
            dark = value > 0.6 if name == "success" else value < 0.88
            axes.text(j, i, text, ha="center", va="center", color="white" if dark else INK)
            if any(row["knows"] for row in _of(rows, attacks[int(i)], defenses[int(j)])):
                axes.add_patch(_frame(j, i))
        axes.grid(False)
        axes.set_title(title)
        axes.set_yticks(range(len(attacks)), attacks)
        axes.tick_params(length=0)
    panels[1].set_xticks(range(len(defenses)), defenses, rotation=30, ha="right")
    return fig


def _frame(x: int, y: int) -> Rectangle:
    return Rectangle((x - 0.48, y - 0.47), 0.96, 0.94, fill=False, edgecolor=INK, linewidth=2)


def _of(rows: Sequence[Mapping[str, Any]], attack: str, defense: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if (row["attack"], row["defense"]) == (attack, defense)]


def _mean(rows: Sequence[Mapping[str, Any]], attack: str, defense: str, name: str) -> float:
    values = [row[name] for row in _of(rows, attack, defense) if row[name] is not None]
    return float(np.mean(values)) if values else np.nan
