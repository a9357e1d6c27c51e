"""Figures of the studies. matplotlib is imported when a figure is drawn."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .compare import Comparison
    from .lag import Lag

FLOOR = 1e-17  # stands for an error of zero on a logarithmic axis


def _figure(width: float, height: float) -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plot() needs matplotlib: pip install 'bilevel[plots]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def draw_comparison(comparison: "Comparison") -> "Figure":
    """Error against CPU time, with a mark per method whose area grows with the memory."""
    figure = _figure(8, 5)
    axes = figure.subplots()
    rows = [row for row in comparison.rows if math.isfinite(row.error)]
    largest = max((row.memory for row in rows), default=1)
    for row in rows:
        x, y = 1e3 * row.seconds, max(row.error, FLOOR)
        colour = "#2f6db5" if row.bound is not None else "#e08a1e"
        area = 30 + 500 * row.memory / max(largest, 1)
        axes.scatter(x, y, s=area, color=colour, alpha=0.6, linewidths=0)
        if row.bound is not None and math.isfinite(row.bound):
            axes.plot([x, x], [y, max(row.bound, FLOOR)], color=colour, linewidth=1)
        axes.annotate(row.name, (x, y), xytext=(6, 4), textcoords="offset points", fontsize=9)
    axes.set(xscale="log", yscale="log", xlabel="CPU ms for value and hypergradient")
    axes.set_ylabel("relative error of the hypergradient")
    axes.set_title("blue: certified, the line reaches to the bound; area: memory", fontsize=10)
    _zero(axes, [row.error for row in rows])
    return figure


def draw_lag(lag: "Lag") -> "Figure":
    """Gradient error against inner error; on the diagonal they are equal."""
    figure = _figure(6.5, 5)
    axes = figure.subplots()
    rows = [r for r in lag.rows if math.isfinite(r.inner_error) and math.isfinite(r.gradient_error)]
    for name in dict.fromkeys(row.name for row in rows):
        of_name = [row for row in rows if row.name == name]
        x = [max(row.inner_error, FLOOR) for row in of_name]
        y = [max(row.gradient_error, FLOOR) for row in of_name]
        axes.plot(x, y, marker="o", label=name)
    ends = [max(row.inner_error, FLOOR) for row in rows]
    if ends:
        axes.plot([min(ends), max(ends)], [min(ends), max(ends)], color="#7a828c", linestyle=":")
        axes.legend(frameon=False)
    axes.set(xscale="log", yscale="log", xlabel="relative error of the inner solution")
    axes.set_ylabel("relative error of the hypergradient")
    axes.invert_xaxis()
    return figure


def _zero(axes, errors: Sequence[float]) -> None:
    if any(error < FLOOR for error in errors):
        axes.axhline(FLOOR, color="#7a828c", linewidth=0.5)
        axes.annotate("exactly 0", (0.01, FLOOR), xycoords=("axes fraction", "data"), fontsize=8)
