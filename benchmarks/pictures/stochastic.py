"""The picture of `stochastic`: suboptimality of the outer objective against CPU seconds."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from . import style

LOOKS = {
    "SOBA": (style.BLUE, "o"),
    "SABA": (style.RED, "s"),
    "AmIGO": (style.ORANGE, "^"),
    "StocBiO": (style.GREEN, "D"),
    "F2SA": (style.QUIET, "v"),
    "exact": (style.INK, None),
}


def draw(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], best: float) -> Figure:
    """Lower left is better. Points at the best objective itself are left out.

    - `curves`: per method CPU seconds, and the objective at them.
    - `best`: the best objective.
    """
    figure = style.new_figure(7.2, 4.6)
    axes = figure.subplots()
    for name, (seconds, value) in curves.items():
        colour, marker = LOOKS[name]
        above = np.where(value > best, value - best, np.nan)
        label = "exact hypergradient" if name == "exact" else name
        axes.plot(
            seconds, above, color=colour, marker=marker, markersize=5, label=label,
            linestyle="dashed" if name == "exact" else "solid",
        )  # fmt: skip
    axes.set(yscale="log", xlabel="CPU seconds", ylabel="outer objective above the best")
    axes.set_title("Tuning a penalty per feature")
    axes.set_xlim(left=0)
    axes.legend(loc="upper right", ncols=2)
    return figure
