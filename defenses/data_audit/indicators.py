"""Figures of a table that need no attack, each with a line on how to read it."""

from typing import Any

import numpy as np

from .judge import Judge, Parts
from .report import Indicator


def indicators(judge: Judge, parts: Parts) -> tuple[Indicator, ...]:
    """Margin, separation, size of the reach, and rows for each feature."""
    train, features = parts.train, parts.train.x.shape[1]
    found = []
    if judge.table.task == "classes":
        found += [_margin(judge, parts), _separation(train.x, train.y)]
    else:
        found.append(_unexplained(judge, parts))
    found.append(_reach(train.x))
    ratio = train.y.size / features
    found.append(Indicator(
        "training rows for each feature", float(ratio), f"{ratio:.1f}",
        "Below 10 a few rows can bend the model a long way; above 100 they hardly can.",
    ))  # fmt: skip
    return tuple(found)


def _margin(judge: Judge, parts: Parts) -> Indicator:
    """How many test rows lie near the boundary."""
    model: Any = judge.match.twin().fit(parts.train.x, parts.train.y)
    f = np.asarray(model.decision_function(parts.test.x))
    if f.ndim == 2:
        top = np.sort(f, axis=1)
        f = top[:, -1] - top[:, -2]
    near = float(np.mean(np.abs(f) < 1))
    return Indicator(
        "rows close to the boundary", near, f"{100 * near:.0f} %",
        "Share of test rows whose decision is within one unit of turning: these turn first.",
    )  # fmt: skip


def _separation(x: np.ndarray, y: np.ndarray) -> Indicator:
    """Distance of the nearest two class means, in standard deviations within a class."""
    labels = np.unique(y)
    means = np.stack([x[y == label].mean(axis=0) for label in labels])
    apart = np.inf
    for i in range(len(labels)):
        for j in range(i):
            along = means[i] - means[j]
            size = np.linalg.norm(along)
            spread = [np.std(x[y == labels[k]] @ along) / max(size, 1e-12) for k in (i, j)]
            apart = min(apart, float(size / max(np.mean(spread), 1e-12)))
    return Indicator(
        "separation of the classes", apart, f"{apart:.1f}",
        "Distance of the two nearest class means over the spread within a class: below 2 they "
        "overlap, and moving the boundary a little turns many rows.",
    )  # fmt: skip


def _unexplained(judge: Judge, parts: Parts) -> Indicator:
    model: Any = judge.match.twin().fit(parts.train.x, parts.train.y)
    rest = parts.train.y - model.predict(parts.train.x)
    tail = float(np.mean(np.abs(rest) > 3 * np.std(rest)))
    return Indicator(
        "residuals beyond three deviations", tail, f"{100 * tail:.1f} %",
        "Above 1 % the clean table has outliers already: poison hides among them.",
    )  # fmt: skip


def _reach(x: np.ndarray) -> Indicator:
    """How much farther out a row may be put than rows are."""
    middle = x.mean(axis=0)
    corner = float(np.linalg.norm(np.maximum(middle - x.min(axis=0), x.max(axis=0) - middle)))
    usual = float(np.median(np.linalg.norm(x - middle, axis=1)))
    times = corner / max(usual, 1e-12)
    return Indicator(
        "size of the reach", times, f"{times:.1f}",
        "The farthest valid row from the mean, over the distance of a usual one: the larger, the "
        "harder a single row can pull.",
    )  # fmt: skip
