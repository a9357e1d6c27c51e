"""The picture of `hyperparameters`: losses of the three methods, split by split."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from benchmarks.rows import Row

from .style import BLUE, GREEN, ORANGE, QUIET, new_figure

COLOURS = (ORANGE, BLUE, GREEN)


def draw(rows: Sequence[Row], methods: Sequence[str]) -> Figure:
    """Validation loss, test loss and CPU time; a line joins what one split gave."""
    figure = new_figure(12, 4.2)
    panels = {
        "held_out_loss": "loss on held-out folds (tuned on)",
        "test_loss": "test loss (never seen)",
        "cpu_seconds": "CPU seconds, warm",
    }
    for axes, (column, title) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        for number in sorted({row["split"] for row in rows}):
            results = {row["method"]: row[column] for row in rows if row["split"] == number}
            axes.plot([results.get(m) for m in methods], color=QUIET, linewidth=0.8, alpha=0.6)
        for place, (method, colour) in enumerate(zip(methods, COLOURS, strict=True)):
            values = [row[column] for row in rows if row["method"] == method]
            axes.plot([place] * len(values), values, "o", color=colour, markersize=8)
        axes.set_xticks(range(len(methods)), [m.replace(" ", "\n", 1) for m in methods])
        axes.set(title=title, xlim=(-0.4, len(methods) - 0.6))
        axes.set_ylim(bottom=0)
        axes.grid(axis="x", visible=False)
    return figure
