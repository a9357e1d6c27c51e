"""Februus: stamped digits, where the network looked, what is cut out, and what is painted anew."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from .style import QUIET, new_figure


def draw(*images: Sequence[np.ndarray] | np.ndarray) -> Figure:
    """A line for each digit: (n, 28, 28) of each kind; the grey of a masked one is cut out."""
    names = ("stamped", "heat", "masked", "restored")
    count = len(images[0])
    fig = new_figure(1.6 * len(names), 1.5 * count + 0.4)
    lines = fig.subplots(count, len(names), squeeze=False)
    for line in range(count):
        for axes, name, image in zip(lines[line], names, images, strict=True):
            axes.set_axis_off()
            colours = "inferno" if name == "heat" else "gray_r"
            axes.imshow(np.asarray(image[line]), cmap=colours, vmin=0, vmax=1)
            if line == 0:
                axes.set_title(name, fontsize=10, color=QUIET)
    return fig
