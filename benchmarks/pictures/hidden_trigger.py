"""Hidden trigger: the 9s before and after, and the 4s without and with the trigger."""

import numpy as np
from jaxtyping import ArrayLike
from matplotlib.figure import Figure

from .style import QUIET, new_figure


def draw(*rows: ArrayLike) -> Figure:
    """Rows of images: 9s, moved 9s, 4s, stamped 4s; eight of each."""
    names = ("9s", "moved 9s, labelled 9", "4s", "stamped 4s, read as 9")
    fig = new_figure(9.0, 5.4)
    for line, name, images in zip(fig.subplots(4, 8), names, rows, strict=True):
        for axes, image in zip(line, np.asarray(images)[:8], strict=True):
            axes.imshow(image.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
            axes.set_axis_off()
        line[0].set_title(name, fontsize=10, color=QUIET)
    return fig
