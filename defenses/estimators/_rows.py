"""Rows in an order of their own."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped, UInt
from sklearn.utils import _safe_indexing


class Rows(NamedTuple):
    """Training rows: numbers `x` (n, d), labels or targets `y` (n,), and `given`, the rows as the
    estimator is to see them: a data frame stays one.
    """

    x: Float[np.ndarray, "n d"]
    y: Shaped[np.ndarray, " n"]
    given: Any

    def take(self, which: np.ndarray) -> "Rows":
        """Those of a mask, or of indices in this order."""
        return Rows(self.x[which], self.y[which], _safe_indexing(self.given, which))


def own_order(rows: Rows) -> np.ndarray:
    """Indices that sort rows by a hash of their features, and by label within equal ones.

    Rows that come in it make whatever follows depend on no order in which they were given: random
    draws by index, ties, sums, and the estimator's own shuffles. Unlike values, hashes are as good
    as shuffled: consecutive folds are fair. Adding rows never swaps two others.
    """
    return np.lexsort((rows.y, row_hash(rows.x)))


def row_hash(x: Float[np.ndarray, "n d"]) -> UInt[np.ndarray, " n"]:
    """A pseudo-random number per row that depends on its own content alone."""
    bits = np.ascontiguousarray(x + 0.0, np.float64).view(np.uint64)  # + 0: one sign of zero
    columns = _mix(np.arange(1, x.shape[1] + 1, dtype=np.uint64))
    return _mix(np.add.reduce(_mix(bits ^ columns[None, :]), axis=1))


def _mix(h: UInt[np.ndarray, "..."]) -> UInt[np.ndarray, "..."]:
    """The finaliser of MurmurHash3, of 64 bits."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        h = (h ^ (h >> np.uint64(33))) * np.uint64(factor)
    return h ^ (h >> np.uint64(33))
