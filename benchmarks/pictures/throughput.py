"""Attacks per second against the size of the batch."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from benchmarks.rows import Row, distinct, where

from .style import BLUE, RED, new_figure

STYLES = {"float64": "-", "float32": "--"}


def draw(rows: Sequence[Row]) -> Figure:
    """A line per number of devices and precision, both axes logarithmic."""
    fig = new_figure(5, 4.2)
    axes = fig.subplots()
    counts = distinct(rows, "devices")
    for dtype in distinct(rows, "dtype"):
        for at, devices in enumerate(counts):
            group = [
                row
                for row in where(rows, dtype=dtype, devices=devices)
                if row["attacks_per_second"] is not None
            ]
            if group:
                group = sorted(group, key=lambda row: row["batch"])
                axes.loglog(
                    [row["batch"] for row in group],
                    [row["attacks_per_second"] for row in group],
                    marker="o", ls=STYLES[dtype], color=RED if at else BLUE, alpha=1 / max(at, 1),
                    label=f"{devices} device{'s' * (devices > 1)}, {dtype}",
                )  # fmt: skip
    axes.set(xlabel="attacks in a batch", ylabel="attacks per second", title=rows[0]["device"])
    axes.legend(loc="best")
    return fig
