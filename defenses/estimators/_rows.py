"""Training rows, in an order that depends on their content alone."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped, UInt
from sklearn.utils import _safe_indexing, check_random_state

from .._hash import row_hash


class Rows(NamedTuple):
    """Training rows: numbers `x` (n, d), labels or targets `y` (n,), `target` (n,), the labels as
    JAX learners number them, and `given`, the rows as the estimator is to see them: a data frame
    stays one.
    """

    x: Float[np.ndarray, "n d"]
    y: Shaped[np.ndarray, " n"]
    target: Float[np.ndarray, " n"]
    given: Any

    def take(self, which: np.ndarray) -> "Rows":
        """Those of a mask, or of indices in this order."""
        given = _safe_indexing(self.given, which)
        return Rows(self.x[which], self.y[which], self.target[which], given)

    def hashes(self, seed: int = 0) -> UInt[np.ndarray, " n"]:
        """A pseudo-random number per row, by its features and label."""
        return row_hash(self.x, self.target, seed)


def class_numbers(y: Shaped[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Labels as numbers: -1 and +1 if there are two classes, else 0, 1, 2, ..."""
    classes, number = np.unique(y, return_inverse=True)
    number = number.astype(np.float64)
    return 2 * number - 1 if classes.size == 2 else number


def own_order(rows: Rows) -> np.ndarray:
    """Indices that sort rows by a hash of their features, and by label within equal ones.

    Rows that come in it make whatever follows depend on no order in which they were given: random
    draws by index, ties, sums, and the estimator's own shuffles. Unlike values, hashes are as good
    as shuffled: consecutive folds are fair. Adding rows never swaps two others.
    """
    hashes = row_hash(rows.x)
    if np.unique(hashes).size == hashes.size:
        return np.argsort(hashes)
    return np.lexsort((*rows.x.T, rows.target, hashes))


def seed_of(random_state) -> int:
    """The seed of the hashes that draws are made by: an integer itself, else a drawn one."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))
