"""How all pictures look: light, few lines, letters that survive being shrunk in a README."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

INK, QUIET = "#22272e", "#7a828c"
BLUE, RED, ORANGE, GREEN = "#2f6db5", "#c8373a", "#e08a1e", "#3d8f5f"

SETTINGS: dict[Any, Any] = {
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelsize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e8eb",
    "grid.linewidth": 0.8,
    "lines.linewidth": 2.2,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, laid out by constrained layout."""
    matplotlib.rcParams.update(SETTINGS)
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06)
    return Figure(figsize=(width, height), layout=layout)


def percent(share: float, _: object = None) -> str:
    """Format a share as a tick label."""
    return f"{100 * share:.3g} %"


def ramp(count: int) -> np.ndarray:
    """Colours from pale to dark red, for a growing amount of poison."""
    return matplotlib.colormaps["OrRd"](np.linspace(0.45, 0.95, max(count, 2)))[-count:]


def label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, object]], gap: float) -> None:
    """Write each curve's name at its end (x, y, name, colour), pushed apart to `gap` at least."""
    below = -np.inf
    for x, y, name, colour in sorted(ends, key=lambda end: end[1]):
        below = max(y, below + gap)
        axes.annotate(
            name, (x, below), xytext=(6, 0), textcoords="offset points", va="center", fontsize=11,
            color=colour, annotation_clip=False,
        )  # fmt: skip
