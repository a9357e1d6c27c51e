"""Training rows, in an order that depends on their content alone."""

import zlib
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped, UInt
from scipy.sparse import csr_array, issparse
from sklearn.utils import _safe_indexing, check_random_state

from .._hash import row_hash


class Rows(NamedTuple):
    """Training rows.

    - `x` (n, d): numbers that tell rows apart, dense or CSR; hashes stand for what is no number.
    - `y` (n,): labels or targets; `target` (n,): labels as JAX learners number them.
    - `weight` (n,): what each row counts; `weighed`: whether the estimator is told.
    - `given`: the rows as the estimator is to see them: a data frame stays one.
    """

    x: Any
    y: Shaped[np.ndarray, " n"]
    target: Float[np.ndarray, " n"]
    weight: Float[np.ndarray, " n"]
    weighed: bool
    given: Any

    def take(self, which: np.ndarray) -> "Rows":
        """Those of a mask, or of indices in this order."""
        given, some = _safe_indexing(self.given, which), (self.y, self.target, self.weight)
        y, target, weight = (each[which] for each in some)
        return Rows(self.x[which], y, target, weight, self.weighed, given)

    def hashes(self, seed: int = 0) -> UInt[np.ndarray, " n"]:
        """A pseudo-random number per row, by its features and label."""
        return row_hash(self.x, self.target, seed)

    def train(self, model: Any) -> Any:
        """The model, trained on these rows."""
        told = {"sample_weight": self.weight} if self.weighed else {}
        return model.fit(self.given, self.y, **told)


def class_numbers(y: Shaped[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Labels as numbers: -1 and +1 if there are two classes, else 0, 1, 2, ..."""
    classes, number = np.unique(y, return_inverse=True)
    number = number.astype(np.float64)
    return 2 * number - 1 if classes.size == 2 else number


def plain_labels(y: Any) -> Any:
    """Labels of Python's or pandas' objects as an array of one type: booleans, numbers or text.
    ValueError if a label is missing or they are of several types.
    """
    labels = np.asarray(y)
    if labels.ndim != 1:
        return y
    if labels.dtype != object:
        return labels
    missing = np.array([_is_missing(label) for label in y])
    if missing.any():
        raise ValueError(
            f"y: {int(missing.sum())} of {missing.size} labels are missing; drop these rows"
        )
    kinds = {bool: bool, np.bool_: bool, str: str}
    found = {kinds.get(type(label), Real if isinstance(label, Real) else object) for label in y}
    if found == {str}:
        return labels
    if len(found) > 1 or found == {object}:
        names = sorted({type(label).__name__ for label in y})
        raise ValueError(
            f"y: got labels of the types {', '.join(names)}, expected one of text, booleans or "
            "numbers"
        )
    return np.array(labels.tolist())


def _is_missing(label: Any) -> bool:
    none = label is None or type(label).__name__ == "NAType"
    return none or (isinstance(label, float) and label != label)


def telling(cells: Any) -> Any:
    """Rows (n, d) as numbers that tell them apart: those there are, and hashes of other values."""
    if issparse(cells):
        cells = csr_array(cells, dtype=np.float64, copy=True)
        cells.sum_duplicates()
        return cells
    if cells.dtype.kind in "biuf":
        return cells.astype(np.float64)
    return np.vectorize(_number, otypes=[np.float64])(cells)


def _number(value: Any) -> float:
    """Of a cell alone, whatever the others: in 24 bits, which single precision holds."""
    if isinstance(value, Real | np.bool_):
        return float(value)  # pyright: ignore[reportArgumentType]
    return float(zlib.crc32(str(value).encode()) & 0xFFFFFF)


def own_order(rows: Rows) -> np.ndarray:
    """Indices that sort rows by a hash of their features, and by label within equal ones.

    Rows that come in it make whatever follows depend on no order in which they were given: random
    draws by index, ties, sums, and the estimator's own shuffles. Unlike values, hashes are as good
    as shuffled: consecutive folds are fair. Adding rows never swaps two others.
    """
    hashes = row_hash(rows.x)
    if np.unique(hashes).size == hashes.size:
        return np.argsort(hashes)
    content = (row_hash(rows.x, seed=1),) if issparse(rows.x) else rows.x.T
    return np.lexsort((rows.weight, *content, rows.target, hashes))


def seed_of(random_state) -> int:
    """The seed of the hashes that draws are made by: an integer itself, else a drawn one."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))
