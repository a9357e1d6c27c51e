"""Whose labels a figure depends on: splits with other labels in one part, and attacks that only
look at the rows they are given.
"""

import dataclasses
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import numpy as np

from benchmarks.data import Parts, Table

Figures = Callable[[Parts], tuple[dict[str, Any], Any]]
"""Parts of a table -> the cells that an experiment reports, the poison it makes."""


class OneSplit:
    """A table with one split."""

    def __init__(self, parts: Parts):
        self.parts = parts

    def split(self, *sizes: int) -> Parts:
        del sizes
        return self.parts


class Climbed(NamedTuple):
    """A recipe at its end."""

    z: Any
    steps: int = 1
    status: int = 0
    history: Any = None
    message: str = ""

    def climb(self, **settings: Any) -> "Climbed":
        del settings
        return self


def drawn(targets: bool = False) -> Parts:
    """Labels or targets of noise. Sizes are odd, so that a share of errors is never a half."""
    rng = np.random.default_rng(0)
    sizes = (25, 13, 17)
    x = rng.uniform(size=(sum(sizes), 3))
    sides = np.where(np.arange(len(x)) % 2, 1.0, -1.0)
    y = rng.uniform(size=len(x)) if targets else np.where(rng.random(len(x)) < 0.2, -sides, sides)
    x[:, 0] += 0.0 if targets else 0.2 * (sides - x[:, 0])
    rows = np.split(np.arange(len(x)), np.cumsum(sizes))[:3]
    return Parts(*(Table(np.clip(x[r], 0, 1), y[r], ("a", "b", "c")) for r in rows))


def relabelled(parts: Parts, name: str) -> Parts:
    """The other label of each row of one part; of targets in [0, 1] the opposite."""
    table = getattr(parts, name)
    y = -table.y if np.all(np.abs(table.y) == 1) else 1 - table.y
    return parts._replace(**{name: dataclasses.replace(table, y=y)})


def pull(rows: Any) -> Any:
    """A number in [-1, 1] that depends on every label of the rows."""
    share = np.arange(1.0, rows.y.shape[-1] + 1)
    return rows.y @ (share / share.sum())


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """The cells that differ, but for times."""
    return {name for name in before if "seconds" not in name and before[name] != after[name]}


def check_roles(
    figures: Figures, parts: Parts, tested: Collection[str], validated: Collection[str] = (),
    idle: Collection[str] = (), relabel: Callable[[Parts, str], Parts] = relabelled,
) -> None:  # fmt: skip
    """Other test labels change the figures `tested`, all of them, and nothing else; other
    validation labels the poison and the figures `validated`, and none of models without poison
    (`idle`, among `tested`).
    """
    cells, poison = figures(parts)
    after, same = figures(relabel(parts, "test"))
    assert changed(cells, after) == set(tested)
    np.testing.assert_array_equal(same, poison)
    after, other = figures(relabel(parts, "validation"))
    assert np.any(np.asarray(other) != np.asarray(poison))
    assert set(validated) <= changed(cells, after)
    assert not set(idle) & changed(cells, after)
