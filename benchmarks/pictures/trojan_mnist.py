"""Trojaning: a digit with each square, and inverted images."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import ArrayLike
from matplotlib.figure import Figure

from .style import QUIET, new_figure


def draw(stamped: Mapping[str, ArrayLike], inverted: ArrayLike) -> Figure:
    """Above a digit with the square of each kind, below an inverted image of each class."""
    images = np.asarray(inverted)
    fig = new_figure(9.0, 3.4)
    lines = fig.subplots(2, len(images))
    for axes in lines.flat:
        axes.set_axis_off()
    for axes, (name, image) in zip(lines[0], stamped.items(), strict=False):
        axes.imshow(np.asarray(image).reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(name, fontsize=10, color=QUIET)
    for digit, (axes, image) in enumerate(zip(lines[1], images, strict=True)):
        axes.imshow(image.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(f"inverted {digit}", fontsize=8, color=QUIET)
    return fig
