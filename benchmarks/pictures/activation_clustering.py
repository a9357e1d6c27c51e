"""Activation clustering: recall and false positives of each class, one panel for each attack."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .style import BLUE, QUIET, RED, new_figure


def draw(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """The first rule and kind of components, means over the splits."""
    first = [row for row in rows if all(row[k] == rows[0][k] for k in ("rule", "components"))]
    kinds = list(dict.fromkeys((row["kind"], row["share"]) for row in first))
    fig = new_figure(10.0, 2.0 * len(kinds))
    panels = fig.subplots(len(kinds), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (kind, share) in zip(panels, kinds, strict=True):
        of = [row for row in first if (row["kind"], row["share"]) == (kind, share)]
        recall, false = (_classes(of, name) for name in ("recall_by_class", "false_by_class"))
        at = np.arange(len(false))
        axes.bar(at - 0.2, recall, 0.38, color=BLUE, label="copies dropped")
        axes.bar(at + 0.2, false, 0.38, color=RED, label="clean rows dropped")
        axes.set_ylim(0, 1.05)
        axes.set_title("clean rows" if kind == "clean" else f"{kind}, {100 * share:.0f} % copies")
    panels[-1].set_xticks(np.arange(10))
    panels[-1].set_xlabel("class", color=QUIET)
    panels[0].legend(loc="upper right", ncols=2)
    return fig


def _classes(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """Means over the splits that have a figure for a class; 0 where none has."""
    classes = zip(*(row[name].split() for row in rows), strict=True)
    known = [[float(cell) for cell in cells if cell != "-"] for cells in classes]
    return np.array([np.mean(cells) if cells else 0.0 for cells in known])
