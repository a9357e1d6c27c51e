"""Roads with and without the attacker's sign, and where cars went on them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.data.scenes import Trip
from benchmarks.data.scenes.roads import HALF_ROAD

from .style import BLUE, INK, QUIET, RED, new_figure


def draw(trips: Sequence[Trip], views: np.ndarray, signed: np.ndarray, sign: float) -> Figure:
    """Above: what the camera sees, without a sign and with it. Below, from above: the trips of the
    clean network and of the backdoored one, each without a sign and with one.
    """
    fig = new_figure(9.0, 6.0)
    parts: Any = fig.subfigures(2, 1, height_ratios=(1, 2.4))
    above, below = parts
    for row, pictures in zip(above.subplots(2, len(views)), (views, signed), strict=True):
        for axes, picture in zip(row, pictures, strict=True):
            axes.imshow(picture)
            axes.set_axis_off()
    names = [
        f"{who} network, {what}" for who in ("clean", "backdoored") for what in ("no sign", "sign")
    ]
    grid = below.subplots(2, 2, sharex=True, sharey=True)
    for axes, trip, name in zip(grid.flat, trips, names, strict=True):
        axes.axhspan(-HALF_ROAD, HALF_ROAD, color="#eceef0")
        axes.axhline(0, color="white", dashes=(4, 4))
        gone = trip.left()
        for along, offset, left in zip(trip.along.T, trip.offset.T, gone, strict=True):
            end = np.argmax(np.abs(offset) > HALF_ROAD + 3) if left else 0
            end = end or len(offset)
            axes.plot(along[:end], offset[:end], color=RED if left else BLUE, linewidth=1.2)
        if name.endswith(", sign"):
            axes.plot(sign, HALF_ROAD + 1, marker="D", color="#d91a80", markeredgecolor=INK)
        axes.set_title(f"{name}: {gone.sum()} of {len(gone)} leave", fontsize=11)
        axes.set_ylim(HALF_ROAD + 3, -HALF_ROAD - 3)
        axes.set_yticks([-3, 0, 3])
        axes.grid(visible=False)
        axes.tick_params(color=QUIET)
    for axes in grid[1]:
        axes.set_xlabel("metres along the road")
    for axes in grid[:, 0]:
        axes.set_ylabel("metres to the right")
    return fig
