"""What an attacker may do to training rows, as a set of changes of the training's gradient."""

import abc
import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ._rows import Rows

PAIRS = 2**22
"""Products of rows held in memory at a time."""


@dataclasses.dataclass(frozen=True)
class Relabelled:
    """The attacker changes the labels or targets of rows.

    - `targets`: the two labels, or the lowest and highest target.
    """

    targets: tuple[float, float] = (-1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Inserted:
    """The attacker adds rows of weight one.

    - `lower`, `upper` (d,): bounds of the features. `groups`, `optional`: one-hot groups of them.
    - `targets`: the two labels, or the lowest and highest target.
    """

    lower: Float[np.ndarray, " d"]
    upper: Float[np.ndarray, " d"]
    targets: tuple[float, float] = (-1.0, 1.0)
    groups: Sequence[Sequence[int]] = ()
    optional: Sequence[bool] = ()

    def rows(self) -> Rows:
        """The rows alone."""
        return Rows(np.asarray(self.lower, float), np.asarray(self.upper, float), self.groups,
                    self.optional)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Mixed:
    """The attacker adds rows, and changes labels or targets of others: so many in all."""

    inserted: Inserted


class Changes(abc.ABC):
    """A set of changes g (p,) of the gradient of the training objective."""

    @abc.abstractmethod
    def along(self, v: Float[np.ndarray, "m p"]) -> Float[np.ndarray, " m"]:
        """An upper bound of v g over the set, for each v."""

    @abc.abstractmethod
    def size(self, q: Float[np.ndarray, "p p"]) -> float:
        """An upper bound of (g'qg)^1/2 over the set, for q >= 0."""


@dataclasses.dataclass(frozen=True, eq=False)
class Tilts(Changes):
    """Sums of `count` rows a (n, p), or fewer, each times a number from `low` (n,) to `high`."""

    a: Float[np.ndarray, "n p"]
    low: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]
    count: int

    def along(self, v):
        return np.concatenate([_top(self.each(part), self.count) for part in self.parts(v)])

    def size(self, q):
        return float(_top(self.sizes(q)[None], self.count)[0])

    def parts(self, v: Float[np.ndarray, "m p"]) -> list[Float[np.ndarray, "k p"]]:
        """So many directions at a time."""
        return np.array_split(v, -(-len(v) * len(self.a) // PAIRS) or 1)

    def each(self, v: Float[np.ndarray, "m p"]) -> Float[np.ndarray, "m n"]:
        """The most that each row does along each v."""
        each = v @ self.a.T
        return np.maximum(np.maximum(each * self.low, each * self.high), 0)

    def sizes(self, q: Float[np.ndarray, "p p"]) -> Float[np.ndarray, " n"]:
        """The size of each row's largest change."""
        most = np.maximum(np.abs(self.low), np.abs(self.high))
        return most * np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", self.a, q, self.a), 0))


@dataclasses.dataclass(frozen=True, eq=False)
class Insertions(Changes):
    """Sums of `count` rows, or fewer, times numbers whose squares have a mean of at most
    `scale`^2.
    """

    rows: Rows
    scale: float
    count: int

    def along(self, v):
        return self.count * self.scale * self.rows.largest(v)

    def size(self, q):
        return self.count * self.scale * float(np.sqrt(self.rows.square(q)))


@dataclasses.dataclass(frozen=True, eq=False)
class Mixtures(Changes):
    """Tilts of k rows and insertions of `tilts.count` - k, for any k.

    - `sums` (count + 1,): beside 0, 1, ..., count tilts, an upper bound of the sum of the sizes of
      the numbers that the rows inserted are multiplied by.
    """

    tilts: Tilts
    rows: Rows
    sums: Float[np.ndarray, " k"]

    def along(self, v):
        parts = self.tilts.parts(v)
        return np.concatenate([
            np.max(tops(self.tilts.each(part), self.tilts.count)
                   + self.rows.largest(part)[:, None] * self.sums, axis=1)
            for part in parts
        ])  # fmt: skip

    def size(self, q):
        tilted = tops(self.tilts.sizes(q)[None], self.tilts.count)[0]
        return float(np.max(tilted + self.sums * np.sqrt(self.rows.square(q))))


def tops(each: Float[np.ndarray, "m n"], count: int) -> Float[np.ndarray, "m k"]:
    """Sums of the 0, 1, ..., `count` largest entries of each row, none below zero."""
    largest = np.sort(each, axis=1)[:, ::-1][:, :count]
    more = max(count - each.shape[1], 0)
    return np.cumsum(np.pad(largest, ((0, 0), (1, more))), axis=1)


def _top(each: Float[np.ndarray, "m n"], count: int) -> Float[np.ndarray, " m"]:
    """Sums of the `count` largest entries of each row."""
    count = min(count, each.shape[1])
    if count == 0:
        return np.zeros(each.shape[0])
    return np.partition(each, each.shape[1] - count, axis=1)[:, each.shape[1] - count :].sum(axis=1)
