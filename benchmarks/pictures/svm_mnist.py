"""The picture of `svm-mnist`: digits before and after, the attack at work, error by poison."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from benchmarks.rows import Row, column, distinct

from . import style

COLUMNS = 10


class Attacked(NamedTuple):
    """One attack.

    - `start`, `poison`: images before and after, (points, 784).
    - `hinge`: the objective at each step; `best` of them until then.
    - `moments`, `error`: some steps, and the validation error of the best poison until then.
    """

    start: np.ndarray
    poison: np.ndarray
    hinge: np.ndarray
    best: np.ndarray
    moments: np.ndarray
    error: np.ndarray


def draw(
    digits: tuple[int, int], train: int, attacks: Mapping[int, Attacked], rows: Sequence[Row]
) -> Figure:
    """Digits on top; below them objective, validation error and test error.

    - `digits`: the attacker's and the attacked one.
    - `train`: how many clean training rows there are.
    - `attacks`: by number of points.
    """
    shown = min((m for m in attacks if m >= COLUMNS), default=max(attacks))
    few = shown <= 5  # then all pictures of them fit into one line
    tall = max(0.34, 1.5 / (shown + 1)) if few else 1.05
    figure = style.new_figure(13, 3.87 * (1.17 + tall))
    ratios = [0.17, tall, 1]
    head, above, below = figure.subfigures(3, 1, squeeze=False, height_ratios=ratios)[:, 0]
    _head(head, shown, digits)
    _digits(above, attacks[shown], few)
    objective, validation, share = below.subplots(1, 3, width_ratios=[1, 1, 1.12])
    _progress(objective, validation, attacks)
    _share(share, rows, train)
    return figure


def _head(figure: SubFigure, points: int, digits: tuple[int, int]) -> None:
    attacker, attacked = digits
    some = f", the first {COLUMNS} shown" if points > COLUMNS else ""
    figure.text(
        0.008, 0.62, f"Poisoning a linear SVM that tells {attacker} from {attacked} (MNIST)",
        fontsize=16, fontweight="bold",
    )  # fmt: skip
    figure.text(
        0.008, 0.08, f"{points} real digit{'s' * (points > 1)} {attacked}{some}, inserted with the "
        f"label {attacker} and moved along the exact hypergradient. "
        "Red: ink added, blue: ink taken away.",
        color=style.QUIET,
    )  # fmt: skip


def _digits(figure: SubFigure, attack: Attacked, few: bool) -> None:
    """Three rows, a column per point; a few points: one row, three columns per point."""
    count = min(COLUMNS, len(attack.start))
    before, after = attack.start[:count], attack.poison[:count]
    kinds = {"before": before, "after": after, "difference": after - before}
    shape = (1, 3 * max(count, 2)) if few else (3, count)
    grid = figure.subplots(*shape, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for row, (name, images) in enumerate(kinds.items()):
        for place, image in enumerate(images):
            axes = grid[0, 3 * place + row] if few else grid[row, place]
            axes.set_axis_on()
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(visible=True, color="#d4d8dd")
            signed = name == "difference"
            axes.imshow(
                image.reshape(28, 28), cmap="RdBu_r" if signed else "gray_r",
                vmin=-1 if signed else 0, vmax=1, interpolation="nearest",
            )  # fmt: skip
            if few:
                axes.set_xlabel(name)
            elif place == 0:
                axes.set_ylabel(name, fontsize=13)


def _progress(objective: Axes, validation: Axes, attacks: Mapping[int, Attacked]) -> None:
    ends: tuple[list, list] = [], []
    for colour, (points, attack) in zip(
        style.ramp(len(attacks)), sorted(attacks.items()), strict=True
    ):
        hinge, best, at, error = attack.hinge, attack.best, attack.moments, attack.error
        objective.plot(hinge, color=colour, linewidth=0.8, alpha=0.5)
        objective.plot(best, color=colour)
        validation.plot(at, error, color=colour)
        name = f"{points} point" + "s" * (points > 1)
        ends[0].append((len(hinge) - 1, best[-1], name, colour))
        ends[1].append((at[-1], error[-1], name, colour))
    objective.set(title="What the attack raises, one split", ylabel="validation hinge loss")
    validation.set(title="Errors while it runs, one split", ylabel="validation error")
    validation.yaxis.set_major_formatter(style.percent)
    for axes, labels in zip((objective, validation), ends, strict=True):
        top = max(end[1] for end in labels) or 1
        axes.set(xlabel="iteration", ylim=(0, 1.1 * top), xlim=(0, None))
        axes.margins(x=0)
        style.label_ends(axes, labels, gap=0.065 * top)


def _share(axes: Axes, rows: Sequence[Row], train: int) -> None:
    counts = sorted(distinct(rows, "points"))
    share = np.array([0, *(m / (m + train) for m in counts)])

    def curve(cell: str) -> list[list[float]]:
        return [column(rows, "clean_test_err"), *(column(rows, cell, points=m) for m in counts)]

    splits = len(distinct(rows, "split"))
    top = max(column(rows, "test_err")) or 1
    for cell, name, colour in (
        ("test_err", "poisoned", style.RED),
        ("flip_test_err", "control: same digits, not moved", style.BLUE),
    ):
        values = curve(cell)
        mean, spread = (np.array([f(v) for v in values]) for f in (np.mean, np.std))
        axes.plot(share, mean, "o-", color=colour, markersize=6, clip_on=False)
        axes.annotate(
            name, (share[-1], mean[-1] + spread[-1]), xytext=(0, 8), textcoords="offset points",
            ha="right", color=colour,
        )  # fmt: skip
        if splits > 1:
            low, high = mean - spread, mean + spread
            axes.fill_between(share, low, high, color=colour, alpha=0.15, linewidth=0)
    for x, y, count in zip(
        share[1:], [np.mean(v) for v in curve("test_err")[1:]], counts, strict=True
    ):
        axes.annotate(
            str(count), (x, y), xytext=(3, -15), textcoords="offset points", color=style.QUIET,
            fontsize=11,
        )  # fmt: skip
    if splits > 1:
        axes.text(
            0.03, 0.97, f"mean of {splits} splits,\none standard deviation",
            transform=axes.transAxes, va="top", color=style.QUIET, fontsize=11,
        )  # fmt: skip
    axes.set(title="Errors on unseen digits", xlabel="poison in the training set")
    axes.set(ylabel="test error", xlim=(0, None), ylim=(0, 1.14 * top))
    axes.xaxis.set_major_formatter(style.percent)
    axes.yaxis.set_major_formatter(style.percent)
