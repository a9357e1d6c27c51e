"""Clean-label poison: digits before and after, what was changed, and what it is for."""

import numpy as np
from jaxtyping import ArrayLike
from matplotlib.figure import Figure

from .style import QUIET, new_figure

SHOWN = 7


def draw(base: ArrayLike, moved: ArrayLike, target: ArrayLike, name: str = "target") -> Figure:
    """For each of k attacks its digits (k, n, ...) before and after, their difference, and, to the
    left and under `name`, the first of the rows (k, m, ...) that it is for.
    """
    base, moved, target = (np.asarray(images) for images in (base, moved, target))
    count = min(SHOWN, base.shape[1])
    fig = new_figure(9.0, 3.2 * len(base))
    grid = fig.subplots(3 * len(base), count + 1, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for k in range(len(base)):
        digits, change = {"cmap": "gray_r", "vmin": 0, "vmax": 1}, moved[k] - base[k]
        most = float(np.max(np.abs(change)))
        differing = {"cmap": "RdBu_r", "vmin": -most, "vmax": most}
        lines = (
            ("before", base[k], digits), ("after", moved[k], digits), ("change", change, differing)
        )  # fmt: skip
        for line, (title, images, look) in zip(grid[3 * k :], lines, strict=False):
            for axes, image in zip(line[1:], images, strict=False):
                axes.imshow(np.squeeze(image), **look)
            line[1].set_title(title, fontsize=10, color=QUIET)
        grid[3 * k, 0].imshow(np.squeeze(target[k, 0]), **digits)
        grid[3 * k, 0].set_title(name, fontsize=10, color=QUIET)
    return fig
