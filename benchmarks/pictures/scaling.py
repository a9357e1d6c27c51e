"""Time of training and of the hypergradient against the number of rows."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from benchmarks.rows import Row, distinct, where

from .style import BLUE, QUIET, RED, new_figure


def draw(rows: Sequence[Row], features: int) -> Figure:
    """A panel per learner, both axes logarithmic, with a line of slope one."""
    kinds = distinct(rows, "learner")
    fig = new_figure(5 * len(kinds), 4.2)
    panels = fig.subplots(1, len(kinds), squeeze=False)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        group = sorted(where(rows, learner=kind), key=lambda r: r["rows"])
        count = [r["rows"] for r in group]
        for cell, colour, label in (
            ("training_ms", BLUE, "training"),
            ("hypergradient_ms", RED, "hypergradient on top"),
        ):
            axes.loglog(count, [r[cell] for r in group], color=colour, marker="o", label=label)
        linear = [group[0]["training_ms"] * n / count[0] for n in count]
        axes.loglog(count, linear, color=QUIET, ls=":", lw=1, label="linear in rows")
        axes.set(title=f"{kind}, {features} features", xlabel="rows")
    panels[0].set_ylabel("CPU ms")
    panels[0].legend(loc="upper left")
    return fig
