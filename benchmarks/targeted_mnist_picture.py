"""Success of a targeted attack against what it costs elsewhere."""

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from .style import BLUE, RED, new_figure, percent


def draw(options, rows: list[dict]) -> Figure:
    """A dot per split and weight; the same rows without moving them, for comparison."""
    fig = new_figure(6.4, 4.6)
    axes = fig.subplots()
    lost = [row["rest_err"] - row["clean_rest_err"] for row in rows]
    axes.scatter(lost, [row["success"] for row in rows], color=RED, label="optimised")
    for row, x in zip(rows, lost, strict=True):
        axes.annotate(
            f"keep {row['keep']:g}", (x, row["success"]), xytext=(5, 3),
            textcoords="offset points", fontsize=9,
        )  # fmt: skip
    axes.scatter(
        [row["flip_rest_err"] - row["clean_rest_err"] for row in rows],
        [row["flip_success"] for row in rows], color=BLUE, label="labels flipped, not moved",
    )  # fmt: skip
    axes.set(
        title=f"{options.source} taken for {options.wanted}, {percent(options.rate)} poison",
        xlabel="accuracy lost on other digits", ylabel="success on unseen digits", ylim=(0, 1),
    )  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(percent))
    axes.legend(loc="lower right")
    return fig
