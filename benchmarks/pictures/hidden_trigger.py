"""Hidden trigger: images of the target class before and after, of the source class stamped."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import ArrayLike
from matplotlib.figure import Figure

from .style import QUIET, new_figure


def draw(rows: Mapping[str, ArrayLike]) -> Figure:
    """Named lines of images in [0, 1], eight of each."""
    fig = new_figure(9.0, 5.4)
    for line, (name, images) in zip(fig.subplots(len(rows), 8), rows.items(), strict=True):
        for axes, image in zip(line, np.asarray(images)[:8], strict=False):
            axes.imshow(np.squeeze(image), cmap="gray_r", vmin=0, vmax=1)
            axes.set_axis_off()
        line[0].set_title(name, fontsize=10, color=QUIET)
    return fig
