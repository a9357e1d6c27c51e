"""The picture of `svm-2d`: surfaces over the position of the poison, hypergradients, ascents."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from . import style

OUTLINE = [patheffects.withStroke(linewidth=3.2, foreground="white")]


class Scene(NamedTuple):
    """All that one row of the picture shows.

    - `x`, `y`: training rows (n, 2) and their labels.
    - `axis`, `hinge`, `error`: validation hinge loss and error with the poison at each place of
      the plane axis x axis, (k, k); NaN where training failed.
    - `arrow_axis`, `arrows`: hypergradients on a coarser plane, (k * k, 2); zero where one is no
      longer than the bound on its error.
    - `paths`: of the ascents, each (steps, 2).
    - `plane`, `clean`, `poisoned`: decision values on plane x plane of the SVM without poison,
      and with the strongest poison.
    """

    x: np.ndarray
    y: np.ndarray
    axis: np.ndarray
    hinge: np.ndarray
    error: np.ndarray
    arrow_axis: np.ndarray
    arrows: np.ndarray
    paths: list[np.ndarray]
    plane: np.ndarray
    clean: np.ndarray
    poisoned: np.ndarray


def draw(scenes: Mapping[str, Scene]) -> Figure:
    """A row per kernel: the hinge loss with the hypergradient, and the error it stands for."""
    figure = style.new_figure(12.4, 5.5 * len(scenes) + 0.4)
    grid = figure.subplots(len(scenes), 2, squeeze=False)
    for (name, scene), (left, right) in zip(scenes.items(), grid, strict=True):
        _surface(figure, left, scene, scene.hinge, "validation hinge loss")
        _surface(figure, right, scene, scene.error, "validation error")
        left.set_title(f"{name} SVM: objective and hypergradient")
        right.set_title(f"{name} SVM: error and boundary")
        _arrows(left, scene)
        _boundaries(right, scene)
        for axes in (left, right):
            _rows(axes, scene)
            _paths(axes, scene)
            edge = scene.axis[-1]
            axes.set(xlim=(-edge, edge), ylim=(-edge, edge), aspect="equal", xticks=[], yticks=[])
    figure.legend(handles=_legend(), loc="outside lower center", ncols=4, handlelength=1.6)
    return figure


def _legend() -> list[Line2D]:
    def entry(label: str, colour: str, **look) -> Line2D:
        return Line2D([], [], color=colour, label=label, **look)

    return [
        entry("attacked class", style.BLUE, marker="o", linestyle=""),
        entry("attacker’s class", style.RED, marker="o", linestyle=""),
        entry("ascent of the poison", style.ORANGE, marker="*", markersize=12),
        entry("hypergradient", style.INK, marker="$→$", markersize=13, linestyle=""),
        entry("hypergradient zero", style.INK, marker=".", markersize=5, linestyle=""),
        entry("boundary without poison", style.INK, linestyle="dashed", linewidth=1.8),
        entry("boundary with the strongest", style.INK, linewidth=1.8),
    ]


def _surface(figure: Figure, axes: Axes, scene: Scene, values, label: str) -> None:
    mesh = axes.pcolormesh(
        scene.axis, scene.axis, values, cmap="YlGnBu", shading="nearest", rasterized=True
    )
    share = style.percent if "error" in label else None
    bar = figure.colorbar(mesh, ax=axes, label=label, format=share, shrink=0.9, pad=0.02)
    bar.outline.set_visible(False)
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _arrows(axes: Axes, scene: Scene) -> None:
    """Directions only: lengths span orders of magnitude. A dot where the gradient is zero."""
    right, up = np.meshgrid(scene.arrow_axis, scene.arrow_axis)
    right, up = right.ravel(), up.ravel()
    length = np.linalg.norm(scene.arrows, axis=1)
    flat = length == 0
    unit = scene.arrows / np.where(flat, 1, length)[:, None]
    inside = (np.abs(right) < scene.axis[-1]) & (np.abs(up) < scene.axis[-1])
    some = ~flat & inside
    axes.quiver(
        right[some], up[some], *unit[some].T, color=style.INK, alpha=0.75, pivot="mid",
        scale=26, width=0.0042,
    )  # fmt: skip
    none = flat & inside
    axes.plot(right[none], up[none], ".", color=style.INK, alpha=0.45, markersize=3)


def _rows(axes: Axes, scene: Scene) -> None:
    for label, colour in ((-1, style.BLUE), (1, style.RED)):
        rows = scene.x[scene.y == label]
        axes.scatter(
            rows[:, 0], rows[:, 1], s=30, color=colour, edgecolors="white", linewidths=0.8, zorder=3
        )


def _paths(axes: Axes, scene: Scene) -> None:
    for path in scene.paths:
        axes.plot(*path.T, color=style.ORANGE, linewidth=2, path_effects=OUTLINE, zorder=4)
        ends = {"color": style.ORANGE, "markeredgecolor": "white", "zorder": 5}
        axes.plot(*path[0], "o", markersize=6, **ends)
        axes.plot(*path[-1], "*", markersize=17, **ends)


def _boundaries(axes: Axes, scene: Scene) -> None:
    """Where the decision of the SVM changes sign, without the poison and with the strongest."""
    for decision, line in ((scene.clean, "dashed"), (scene.poisoned, "solid")):
        look = {"colors": [style.INK], "linestyles": line, "linewidths": 1.8}
        axes.contour(scene.plane, scene.plane, decision, [0.0], **look)
