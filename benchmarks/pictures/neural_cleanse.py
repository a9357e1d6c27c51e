"""Neural Cleanse: pixels that a network asks for, and true masks beside restored ones."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from benchmarks.rows import Row

from .style import BLUE, QUIET, RED, new_figure


def draw(
    rows: Sequence[Row], first: Sequence[Row], masks: Sequence[tuple[np.ndarray, np.ndarray]]
) -> Figure:
    """Left a point per network: pixels of the target against the median of all labels. Right the
    true mask of each trigger above the restored one of the first network.
    """
    fig = new_figure(11.0, 4.0)
    grid = fig.add_gridspec(2, 2 + len(masks))
    axes = fig.add_subplot(grid[:, :2])
    for infected, colour, name in ((True, RED, "infected"), (False, BLUE, "clean")):
        some = [row for row in rows if row["infected"] == infected]
        axes.scatter(
            [row["median"] for row in some], [row["pixels"] for row in some], color=colour,
            label=name, s=40,
        )  # fmt: skip
    most = 1.1 * max(max(row["median"], row["pixels"]) for row in rows)
    axes.plot([0, most], [0, most], color=QUIET, linewidth=1)
    axes.set(xlim=(0, most), ylim=(0, most), xlabel="median of all labels, pixels",
             ylabel="target", title="Smallest mask")  # fmt: skip
    axes.legend()
    for column, (row, (true, restored)) in enumerate(zip(first, masks, strict=True)):
        for line, image in enumerate((true, restored)):
            below = fig.add_subplot(grid[line, 2 + column])
            below.set_axis_off()
            below.imshow(image, cmap="gray_r", vmin=0, vmax=1)
        name = row["trigger"] if row["trigger"] != "square" else f"square {row['size']}"
        fig.axes[-2].set_title(name, fontsize=10, color=QUIET)
    return fig
