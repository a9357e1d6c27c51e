"""Fine-pruning: what each channel answers without and with the trigger, and the prune curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from .style import BLUE, ORANGE, QUIET, RED, new_figure, percent

WORDS = {"conv1": "last convolution: channels", "dense0": "hidden layer: units"}


def draw(curves: Sequence[Mapping[str, Mapping[str, Any]]]) -> Figure:
    """Above, the channels of the first network, from the least active on clean digits: mean outputs
    without and with the trigger. Below, accuracy and success as they are pruned in that order, the
    mean over the networks and each of them.
    """
    fig = new_figure(11.0, 6.6)
    for column, (layer, words) in zip(fig.subplots(2, 2).T, WORDS.items(), strict=True):
        above, below = column
        first = curves[0][layer]
        order = np.arange(len(first["without"]))
        above.bar(order, first["stamped"], width=1.0, color=RED, label="stamped")
        above.bar(order, first["without"], width=0.6, color=BLUE, label="clean")
        above.set_title(words, fontsize=10, color=QUIET)
        above.set_ylabel("mean output")
        for name, colour, label in (
            ("accuracy", BLUE, "accuracy"), ("success", ORANGE, "attack success"),
        ):  # fmt: skip
            each = np.array([one[layer][name] for one in curves])
            below.plot(first["counts"], each.T, color=colour, lw=0.6, alpha=0.4)
            below.plot(first["counts"], each.mean(axis=0), "o-", color=colour, ms=3, label=label)
        below.set_ylim(-0.02, 1.02)
        below.set_xlabel("pruned, least active first; without fine-tuning")
        below.yaxis.set_major_formatter(FuncFormatter(percent))
        above.legend(fontsize=8)
        below.legend(fontsize=8)
    return fig
