"""The picture of `hypergradient-peers`: error against time, one panel per problem."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from benchmarks.rows import Row

from .style import BLUE, GREEN, ORANGE, RED, new_figure

LOOKS = {
    "ours": (RED, "o"),
    "qpax": (BLUE, "s"),
    "jaxopt": (ORANGE, "^"),
    "optimistix": (GREEN, "D"),
}


def draw(rows: Sequence[Row], names: Sequence[str]) -> Figure:
    """Lower left is better: `rows` of the report, both axes logarithmic."""
    figure = new_figure(4.2 * len(names), 4.2)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for tool, (colour, marker) in LOOKS.items():
            group = [r for r in rows if r["problem"] == name and r["tool"] == tool]
            points = [(r["ms"], r["error"]) for r in group if r["error"] is not None]
            if points:
                axes.plot(*zip(*points, strict=True), marker, color=colour, ms=9, label=tool)
        axes.set(title=name, xlabel="CPU ms", xscale="log", yscale="log", ylim=(1e-16, 10))
        axes.legend(loc="upper left")
    figure.axes[0].set_ylabel("relative error of the gradient")
    return figure
