"""The picture of `svm-gradient`: relative errors, grouped by where the poison lies."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.rows import Row

from . import style

GROUPS = {
    "error": "error vectors\nα = C",
    "margin": "on the margin\n0 < α < C",
    "mixed": "a mix\nof kinds",
    "duplicate": "copies of\ntraining rows",
    "reserve": "reserve points\nα = 0",
}
NOTHING = 1e-17  # where zero is drawn on the logarithmic axis


def draw(rows: Sequence[Row]) -> Figure:
    """A column per kind; a mark per case and answer."""
    figure = style.new_figure(11.5, 6)
    axes = figure.subplots()
    kinds = [kind for kind in GROUPS if any(row["kind"] == kind for row in rows)]
    for place, kind in enumerate(kinds):
        cases = [row for row in rows if row["kind"] == kind]
        _marks(axes, place - 0.3, cases, "certified_error", style.GREEN, "_")
        _marks(axes, place, cases, "difference_noise", style.QUIET, "_")
        _marks(axes, place, cases, "ours_error", style.BLUE, "o")
        _marks(axes, place + 0.3, cases, "printed_error", style.RED, "D")
        if all(row["certified_error"] is None for row in cases):
            axes.text(
                place - 0.3, 1e-9, "no bound: degenerate,\nthe derivative is one-sided",
                ha="center", va="center", rotation=90, color=style.GREEN, fontsize=11,
            )  # fmt: skip
        if place:
            axes.axvline(place - 0.5, color="#e6e8eb", linewidth=0.8)
    axes.set_yscale("log")
    axes.set(xlim=(-0.5, len(kinds) - 0.5), ylim=(NOTHING / 4, 30))
    axes.set_xticks(range(len(kinds)), [GROUPS[kind] for kind in kinds])
    ticks = 10.0 ** np.arange(-15, 1, 3)
    names = [f"$10^{{{round(np.log10(tick))}}}$" for tick in ticks[:-1]] + ["1"]
    axes.set_yticks([NOTHING, *ticks], ["exactly 0", *names])
    axes.minorticks_off()
    axes.tick_params(length=0)
    axes.grid(axis="x", visible=False)
    axes.set_ylabel("relative error (of reserve points: absolute)")
    axes.set_title("Hypergradients of a poisoned SVM (MNIST), judged by finite differences")
    axes.set_title("hollow: one poison point, filled: several", loc="right", color=style.QUIET,
                   fontsize=11, fontweight="normal")  # fmt: skip
    figure.legend(handles=_legend(), loc="outside lower center", ncols=4, handletextpad=0.3)
    return figure


def _marks(axes: Axes, place: float, cases, column: str, colour: str, marker: str) -> None:
    """One mark per case, spread sideways; no mark where there is no finite figure."""
    width = min(0.11, 0.02 * len(cases))
    for offset, row in zip(np.linspace(-width, width, len(cases)), cases, strict=True):
        if row[column] is not None:
            axes.plot(
                place + offset, max(row[column], NOTHING), marker, color=colour, markersize=6,
                markeredgewidth=1.4, markerfacecolor=colour if row["points"] > 1 else "white",
                clip_on=False, zorder=3 if marker != "_" else 2,
            )  # fmt: skip


def _legend() -> list[Line2D]:
    def entry(marker: str, colour: str, label: str) -> Line2D:
        return Line2D([], [], marker=marker, color=colour, linestyle="", markersize=8, label=label)

    return [
        entry("_", style.GREEN, "bound our certificate gives"),
        entry("o", style.BLUE, "our hypergradient"),
        entry("_", style.QUIET, "noise of the differences"),
        entry("D", style.RED, "formula that papers print"),
    ]
