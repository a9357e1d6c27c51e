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
        blocks = np.array_split(v, -(-len(v) * len(self.a) // PAIRS) or 1)
        return np.concatenate([self._along(block) for block in blocks])

    def _along(self, v):
        each = v @ self.a.T
        return _top(np.maximum(np.maximum(each * self.low, each * self.high), 0), self.count)

    def size(self, q):
        most = np.maximum(np.abs(self.low), np.abs(self.high))
        norms = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", self.a, q, self.a), 0))
        return float(_top((most * norms)[None], self.count)[0])


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


def _top(each: Float[np.ndarray, "m n"], count: int) -> Float[np.ndarray, " m"]:
    """Sums of the `count` largest entries of each row."""
    count = min(count, each.shape[1])
    if count == 0:
        return np.zeros(each.shape[0])
    return np.partition(each, each.shape[1] - count, axis=1)[:, each.shape[1] - count :].sum(axis=1)
