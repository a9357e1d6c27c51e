"""The pictures of `hypergradients`: error against time, and error against the inner error."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from benchmarks.rows import Row
from bilevel.study import Lag

from .style import BLUE, GREEN, ORANGE, QUIET, RED, new_figure

FLOOR = 1e-16


def _colour(name: str) -> str:
    if name.startswith("implicit"):
        return BLUE
    if name.startswith(("Neumann", "Nystrom")):
        return ORANGE
    return GREEN if name.startswith(("unrolled", "forward", "back")) else RED


def draw_errors(rows: Sequence[Row], problems: Sequence[str]) -> Figure:
    """A panel per problem, a bar per derivative: its error, and its time and memory beside it."""
    names = [p for p in problems if any(row["problem"] == p for row in rows)]
    bars = max((sum(row["problem"] == p for row in rows) for p in names), default=1)
    figure = new_figure(6.4 * min(len(names), 2), (0.9 + 0.33 * bars) * ((len(names) + 1) // 2))
    grid = figure.subplots((len(names) + 1) // 2, min(len(names), 2), squeeze=False)
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    for axes, problem in zip(grid.flat, names, strict=False):
        group = [row for row in rows if row["problem"] == problem][::-1]
        for place, row in enumerate(group):
            error = row["error"]
            if error is not None:
                width = max(error, FLOOR)
                axes.barh(place, width, left=FLOOR / 10, color=_colour(row["derivative"]))
            memory = f", {row['memory_mb']:.2g} MB" if row["memory_mb"] is not None else ""
            text = f"{row['cpu_ms']:.2g} ms{memory}"
            axes.text(2e1, place, text, va="center", fontsize=9, color=QUIET)
        axes.set_yticks(range(len(group)), [row["derivative"] for row in group], fontsize=10)
        axes.set(xscale="log", xlim=(FLOOR / 10, 1e1), title=problem)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("relative error of the hypergradient")
    return figure


def draw_lag(lag: Lag) -> Figure:
    """Gradient error against inner error; equal on the dotted line."""
    figure = new_figure(6.5, 4.6)
    axes = figure.subplots()
    ends = []
    for name, colour in zip(dict.fromkeys(r.name for r in lag.rows), (RED, BLUE), strict=False):
        group = [row for row in lag.rows if row.name == name]
        x = [max(row.inner_error, FLOOR) for row in group]
        axes.plot(x, [max(r.gradient_error, FLOOR) for r in group], "o-", color=colour, label=name)
        ends += x
    axes.plot([min(ends), max(ends)], [min(ends), max(ends)], ":", color=QUIET)
    axes.set(xscale="log", yscale="log", xlabel="relative error of the inner solution")
    axes.set_ylabel("relative error of the hypergradient")
    axes.invert_xaxis()
    axes.legend()
    return figure
