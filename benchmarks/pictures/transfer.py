"""The picture of `transfer`: damage by surrogate and target, and whether alignment predicts it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.rows import Row, distinct, where

from . import style

COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.RED)
MARKERS = "osD^"
NAMES = {
    "svm": "linear SVM", "ridge": "ridge", "logistic": "logistic", "rbf-svm": "RBF SVM",
    "knn": "kNN", "forest": "random forest",
}  # fmt: skip


def named(name: str) -> str:
    """A learner as people call it; of module:Class the class."""
    return NAMES.get(name, name.rpartition(":")[2])


def rises(rows: Sequence[Row], surrogate: str, target: str, cell: str = "test_err") -> list[float]:
    """What poison adds to the target's test error, by seed."""
    cells = where(rows, surrogate=surrogate, target=target)
    return [r[cell] - r["clean_test_err"] for r in cells]


def draw(rows: Sequence[Row], digits: tuple[int, int], share: float) -> Figure:
    """The matrix on the left; on the right, the rise against R, if there are any R.

    - `digits`: the attacker's and the attacked one.
    - `share`: of poison among the training rows.
    """
    figure = style.new_figure(15, 5.2)
    attacker, attacked = digits
    figure.suptitle(
        f"Poison crafted on one learner, tried on others: {attacker} from {attacked} (MNIST), "
        f"{style.percent(round(share, 3))} poison",
        x=0.01, ha="left", fontsize=16, fontweight="bold",
    )  # fmt: skip
    matrix, cloud = figure.subplots(1, 2, width_ratios=[1.45, 1])
    _matrix(matrix, rows)
    _cloud(cloud, [r for r in rows if r["R"] is not None])
    return figure


def _matrix(axes: Axes, rows: Sequence[Row]) -> None:
    surrogates, targets = distinct(rows, "surrogate"), distinct(rows, "target")
    first = surrogates[0]  # the control does not depend on the surrogate
    control = [rises(rows, first, target, "flip_test_err") for target in targets]
    seeds = 100 * np.array([control, *([rises(rows, s, t) for t in targets] for s in surrogates)])
    values, spread = seeds.mean(axis=-1), seeds.std(axis=-1)
    top = max(values.max(), 1.0)
    axes.imshow(values, cmap="OrRd", vmin=0, vmax=top, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        axes.text(
            j, i, f"{value:+.0f} ± {spread[i, j]:.0f}", ha="center", va="center",
            color="white" if value > 0.6 * top else style.INK,
        )  # fmt: skip
    axes.set_xticks(range(len(targets)), [named(t) for t in targets])
    axes.tick_params(axis="x", length=0)
    labels = ["not moved (control)", *map(named, surrogates)]
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.axhline(0.5, color="white", linewidth=4)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set(title="Rise of the test error, in points", ylabel="crafted on")
    axes.set_xlabel(f"target; mean and standard deviation of {seeds.shape[-1]} seeds")


def _cloud(axes: Axes, rows: Sequence[Row]) -> None:
    surrogates, targets = distinct(rows, "surrogate"), distinct(rows, "target")
    for surrogate, marker in zip(surrogates, MARKERS, strict=False):
        for target, colour in zip(targets, COLOURS, strict=False):
            group = where(rows, surrogate=surrogate, target=target)
            if not group:
                continue
            R, rise = [r["R"] for r in group], [r["test_err"] - r["clean_test_err"] for r in group]
            axes.scatter(R, rise, s=16, color=colour, marker=marker, alpha=0.35, linewidths=0)
            axes.scatter(
                np.mean(R), np.mean(rise), s=75, color=colour, marker=marker, edgecolors="white"
            )
    for target, colour in zip(targets, COLOURS, strict=False):
        axes.scatter([], [], color=colour, marker="s", label=f"on {named(target)}")
    for surrogate, marker in zip(surrogates, MARKERS, strict=False):
        axes.scatter([], [], color=style.QUIET, marker=marker, label=f"of {named(surrogate)}")
    axes.legend(
        ncols=1, fontsize=11, handletextpad=0.2, columnspacing=0.8, loc="upper left",
        bbox_to_anchor=(1, 1),
    )  # fmt: skip
    axes.set(title="Does alignment predict it?", ylabel="rise of the test error")
    axes.set(xlabel="alignment R at the start (large: mean of seeds)")
    axes.yaxis.set_major_formatter(style.percent)
