"""Security curves: how bad it gets as the attacker gets stronger, over several seeds."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes


def draw_curve(
    axes: Axes, strength: Sequence[float], values: np.ndarray, colour, name: str
) -> None:
    """Mean over seeds with a band of one standard deviation, and the worst seed, dotted.

    - `strength`: (k,) rates or budgets.
    - `values`: (k, seeds), larger is worse.
    """
    mean, spread = values.mean(axis=1), values.std(axis=1)
    axes.fill_between(strength, mean - spread, mean + spread, color=colour, alpha=0.15, lw=0)
    axes.plot(strength, mean, color=colour, marker="o", ms=4, label=name)
    axes.plot(strength, values.max(axis=1), color=colour, lw=1, ls=":")
