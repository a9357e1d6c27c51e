"""The picture of `memory`: peak memory and time of a gradient against the length of the path."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from benchmarks.rows import Row, where

from . import style

LOOKS = {
    "full": (style.RED, "full unrolling"),
    "sqrt": (style.ORANGE, "square-root checkpoints"),
    "recursive": (style.GREEN, "recursive checkpoints"),
    "reversible": (style.BLUE, "reversible, exact"),
    "forward": (style.QUIET, "training alone"),
}


def draw(rows: Sequence[Row]) -> Figure:
    """Memory on the left, time in forward passes on the right; a curve per way."""
    figure = style.new_figure(12, 5)
    left, right = figure.subplots(1, 2)
    forward = {r["steps"]: r["cpu_s"] for r in rows if r["mode"] == "forward"}
    base = min((r["peak_mb"] - r["planned_mb"] for r in rows if r["peak_mb"]), default=0.0)
    for mode, (colour, name) in LOOKS.items():
        group = sorted(where(rows, mode=mode), key=lambda r: r["steps"])
        measured = [r for r in group if r["peak_mb"]]
        if not group:
            continue
        steps = [r["steps"] for r in measured]
        left.plot(steps, [r["peak_mb"] for r in measured], "o-", color=colour, label=name)
        planned = measured[-1:] + [r for r in group if not r["peak_mb"]]
        if len(measured) < len(group):
            left.plot(
                [r["steps"] for r in planned],
                [r["peak_mb"] or base + r["planned_mb"] for r in planned],
                "--", color=colour,
            )  # fmt: skip
            last = planned[-1]
            left.plot(
                last["steps"], base + last["planned_mb"], "o", color=colour, markerfacecolor="white"
            )
        known = [r for r in measured if forward.get(r["steps"])]
        if mode != "forward":
            ratios = [r["cpu_s"] / forward[r["steps"]] for r in known]
            right.plot([r["steps"] for r in known], ratios, "o-", color=colour)
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xlabel("training steps")
    left.set_yscale("log")
    sizes = [r["peak_mb"] or base + r["planned_mb"] for r in rows]
    ticks = [m * 10**e for e in range(2, 6) for m in (1, 2, 5)]
    ticks = [t for t in ticks if min(sizes) / 2 <= t <= 2 * max(sizes)]
    left.set_yticks(ticks, [f"{t:,}" for t in ticks])
    left.minorticks_off()
    left.set_ylabel("peak memory of the process, MB")
    left.set_title("Memory of a gradient through training")
    right.set_ylim(bottom=0)
    right.set_ylabel("time, in forward passes")
    right.set_title("Its time")
    left.annotate(
        "hollow: as planned by the compiler, not run", (0.02, 0.97), xycoords="axes fraction",
        va="top", color=style.QUIET, fontsize=11,
    )  # fmt: skip
    figure.legend(loc="outside lower center", ncols=len(LOOKS))
    return figure
