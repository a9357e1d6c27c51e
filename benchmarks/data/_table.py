"""A table of numbers as an experiment gets it, and its random parts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..report import UsageError


class Group(NamedTuple):
    """The columns of one one-hot encoded feature: in a valid row at most one of them is 1, and
    the others are 0.
    """

    name: str
    columns: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of features, and what is to be predicted from them. The arrays cannot be written to.

    - `x`: (n, d), in [0, 1].
    - `y`: (n,), labels -1 and +1 or, of a regression, targets in [0, 1].
    - `names`: of the d columns.
    - `groups`: of one-hot columns; a column in none of them is a number.
    - `measured`: whether nobody knows the range of a column in advance: parts are then scaled
      again, by their training rows alone, and other rows may lie outside [0, 1].
    """

    x: np.ndarray
    y: np.ndarray
    names: tuple[str, ...]
    groups: tuple[Group, ...] = ()
    measured: bool = False

    def __post_init__(self):
        for name in ("x", "y"):
            array = np.array(getattr(self, name), float)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        n, d = self.x.shape if self.x.ndim == 2 else (-1, -1)
        if (self.y.shape, len(self.names)) != ((n,), d):
            raise UsageError(
                f"x, y, names: got shapes {self.x.shape}, {self.y.shape}, ({len(self.names)},), "
                "expected (n, d), (n,), (d,)"
            )
        high = np.inf if self.measured else 1
        if not np.all(np.isfinite(self.x) & (self.x >= 1 - high) & (self.x <= high)):
            raise UsageError("x: got NaN or a number outside [0, 1]; scale the features first")
        if not np.all(np.isfinite(self.y)):
            raise UsageError("y: got NaN or infinity; drop such rows first")
        columns = [j for group in self.groups for j in group.columns]
        if len(set(columns)) < len(columns) or not set(columns) <= set(range(d)):
            raise UsageError(f"groups: a column is twice in them, or is none of the {d}")

    def rows(self, index: np.ndarray) -> "Table":
        """Some of the rows, by their numbers."""
        return replace(self, x=self.x[index], y=self.y[index])

    def parts(self, *index: np.ndarray) -> "Parts":
        """Training, validation and test rows, by their numbers."""
        train, *others = (self.rows(rows) for rows in index)
        if self.measured and len(train.y):
            train, *others = (replace(t, x=scaled(t.x, train.x)) for t in (train, *others))
        return Parts(train, *others)

    def split(self, train: int, validation: int, test: int, seed: int = 0) -> "Parts":
        """Disjoint parts of so many rows each, drawn at random: the same numbers and seed always
        give the same rows, in the same order.
        """
        sizes = (train, validation, test)
        if min(sizes) < 0 or sum(sizes) > len(self.y):
            raise UsageError(
                f"train, validation, test: got {train}, {validation}, {test} rows, expected "
                f"numbers of 0 or more, {len(self.y)} in all at most"
            )
        order = np.random.default_rng(seed).permutation(len(self.y))
        return self.parts(*np.split(order, np.cumsum(sizes))[:3])


class Parts(NamedTuple):
    """What a learner sees, what an attacker or a tuner judges by, and what is reported."""

    train: Table
    validation: Table
    test: Table


def named_groups(names: Sequence[str]) -> tuple[Group, ...]:
    """The groups of columns that are called `feature:category`."""
    groups: dict[str, list[int]] = {}
    for j, name in enumerate(names):
        feature, colon, _ = name.rpartition(":")
        if colon:
            groups.setdefault(feature, []).append(j)
    return tuple(Group(feature, tuple(columns)) for feature, columns in groups.items())


def scaled(x: np.ndarray, by: np.ndarray | None = None) -> np.ndarray:
    """Every column onto [0, 1] where it has the least and largest number among the rows `by`, or
    among all; constants onto 0.
    """
    by = x if by is None else by
    low, high = by.min(0), by.max(0)
    return (x - low) / np.where(high > low, high - low, 1)


def squeezed(x: np.ndarray) -> np.ndarray:
    """sign(x) log(1 + |x|): for features that differ by orders of magnitude."""
    return np.sign(x) * np.log1p(np.abs(x))
