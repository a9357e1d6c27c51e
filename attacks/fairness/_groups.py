"""Groups of rows, and the rates of a classifier in each of them."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

ADVICE = "pandas.factorize(column) numbers the values of a column"


class Rates(NamedTuple):
    """What measures compare: an array (k,) each, over the groups 0 ... k - 1.

    - `share`: of all rows, by weight.
    - `selection`: share of the rows that are predicted +1.
    - `true_positive`, `false_positive`: the same among rows with the label +1, and with -1.
    - `decision`: mean decision.
    """

    share: Any
    selection: Any
    true_positive: Any
    false_positive: Any
    decision: Any


def groups_of(group: Any, rows: int) -> Int[np.ndarray, " n"]:
    """The group of each row, numbers 0 ... k - 1, as an array.

    ValueError, with a sentence, for another length, values that are no whole numbers (missing ones
    too), and a number below the largest that no row has.
    """
    array = np.asarray(group)
    if array.shape != (rows,):
        raise ValueError(f"group: got shape {array.shape}, expected ({rows},), one per row")
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool):
        raise ValueError(f"group: got {array.dtype}, expected whole numbers 0, 1, ...; {ADVICE}")
    missing = np.flatnonzero(np.isnan(array)) if np.issubdtype(array.dtype, np.floating) else []
    if len(missing):
        raise ValueError(
            f"group: {len(missing)} rows have no group (NaN), the first is row {missing[0]}; drop "
            "them, or make them a group of their own"
        )
    wrong = np.flatnonzero((array != np.round(array)) | (array < 0))
    if wrong.size:
        raise ValueError(
            f"group: got {array[wrong[0]]:g} in row {wrong[0]}, expected whole numbers 0, 1, ...; "
            f"{ADVICE} and gives missing ones -1"
        )
    numbers = array.astype(int)
    if np.unique(numbers).size < 2:
        raise ValueError("group: got rows of one group, expected two or more to compare")
    empty = np.flatnonzero(np.bincount(numbers) == 0)
    if empty.size:
        raise ValueError(
            f"group: no row is of group {empty[0]}, expected rows of each of 0 ... "
            f"{numbers.max()}; {ADVICE} without gaps"
        )
    return numbers


def scarce(group: Int[np.ndarray, " n"], positive: np.ndarray) -> dict[str, str]:
    """A sentence for each kind of row ("rows", "positives", "negatives") that some group lacks:
    a second row, a row with the label +1, a row with the label -1.
    """
    found: dict[str, str] = {}
    for g in range(group.max() + 1):
        inside = group == g
        if inside.sum() == 1:
            found.setdefault("rows", f"group {g} has a single row: its rates are 0 or 1")
        if not np.any(inside & positive):
            found.setdefault("positives", f"group {g} has no row with the label +1: no true "
                             "positive rate")  # fmt: skip
        if np.all(positive[inside]):
            found.setdefault("negatives", f"group {g} has no row with the label -1: no false "
                             "positive rate")  # fmt: skip
    return found
