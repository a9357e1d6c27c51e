"""Kinds of columns of a data frame, and their encodings as features in [0, 1]."""

import abc
import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    import pandas as pd

NEAR = 1e-6  # a value at most this far from 0, 1 or an integer is read as that
LARGEST = 2**49  # the encoding of larger integers may not be exact in float64

Part = Float[np.ndarray, "n k"]


class AbstractKind(abc.ABC):
    """One column: `labels` name its k features."""

    labels: tuple[str, ...] = ("",)
    spacing: float = 0.0
    """Distance between valid levels; 0 for a continuous feature."""

    @abc.abstractmethod
    def encode(self, series: "pd.Series") -> Part:
        """Features (n, k). ValueError for values that this kind does not have."""

    @abc.abstractmethod
    def decode(self, part: Part, name: Any) -> "pd.Series":
        """The column `name` of features (n, k). ValueError for features that encode no value."""

    def targets(self, series: "pd.Series") -> Float[np.ndarray, " n"]:
        """The column as targets (n,)."""
        return self.encode(series)[:, 0]

    def of_targets(self, y: Float[np.ndarray, " n"], name: Any) -> "pd.Series":
        """The column `name` of targets (n,)."""
        return self.decode(y[:, None], name)


@dataclasses.dataclass(frozen=True)
class Constant(AbstractKind):
    """A column of a single value, encoded as 0."""

    dtype: Any
    value: Any

    def encode(self, series):
        _require_present(series)
        other = np.flatnonzero((series != self.value).to_numpy(bool))
        if other.size:
            raise ValueError(
                f"frame: column {series.name!r} holds {_cell(series, other[0])} in row {other[0]}, "
                f"expected only {self.value!r}, as in the encoded frame; drop the column first"
            )
        return np.zeros((len(series), 1))

    def decode(self, part, name):
        import pandas as pd

        _require(np.abs(part[:, 0]) <= NEAR, name, "is not 0 in a row, expected 0 for a constant")
        return pd.Series([self.value] * len(part), dtype=self.dtype)


@dataclasses.dataclass(frozen=True)
class Real(AbstractKind):
    """Real numbers, scaled from [low, high] to [0, 1]."""

    dtype: Any
    low: float
    high: float

    def encode(self, series):
        return (_numbers(series) - self.low)[:, None] / (self.high - self.low)

    def decode(self, part, name):
        import pandas as pd

        # from the nearer end, so that both ends are exact
        x, width = part[:, 0], self.high - self.low
        values = np.where(x < 0.5, self.low + x * width, self.high - (1 - x) * width)
        return pd.Series(values).astype(self.dtype)


@dataclasses.dataclass(frozen=True)
class Integer(AbstractKind):
    """Integers, scaled from [low, high] to levels in [0, 1]."""

    dtype: Any
    low: int
    high: int

    @property
    def spacing(self):
        return 1 / (self.high - self.low)

    def encode(self, series):
        return (_numbers(series) - self.low)[:, None] / (self.high - self.low)

    def decode(self, part, name):
        import pandas as pd

        steps = part[:, 0] * (self.high - self.low)
        near = np.abs(steps - np.round(steps)) <= NEAR + 1e-15 * np.abs(steps)
        _require(near, name, "lies between two integers")
        values = np.round(steps).astype(np.int64) + self.low
        column = pd.Series(values).astype(self.dtype)
        _require(column.to_numpy(float) == values, name, f"does not fit into {self.dtype}")
        return column


@dataclasses.dataclass(frozen=True)
class Categories(AbstractKind):
    """Values in a fixed order. Two values have one feature. More values have one feature each,
    except the first one if `reference`.
    """

    dtype: Any
    values: tuple[Any, ...]
    reference: bool

    @property
    def first(self) -> int:
        """The first value that has a feature."""
        return 1 if self.binary or self.reference else 0

    @property
    def binary(self) -> bool:
        """Whether there are two values."""
        return len(self.values) == 2

    @property
    def labels(self):
        return tuple(f"={value}" for value in self.values[self.first :])

    @property
    def spacing(self):
        return 1.0 if self.binary else 0.0

    def encode(self, series):
        codes = self._codes(series)
        return (codes[:, None] == np.arange(self.first, len(self.values))).astype(float)

    def decode(self, part, name):
        hot = np.abs(part - 1) <= NEAR
        ones = hot.sum(axis=1)
        fine = np.all(hot | (np.abs(part) <= NEAR), axis=1) & (ones <= 1)
        if self.first == 0:
            fine &= ones == 1
        _require(fine, name, "is no valid one-hot row")
        return self._of_codes(np.where(ones == 1, hot.argmax(axis=1) + self.first, 0))

    def targets(self, series):
        codes = self._codes(series).astype(float)
        return 2 * codes - 1 if self.binary else codes

    def of_targets(self, y, name):
        codes = (y + 1) / 2 if self.binary else y
        whole = np.round(codes)
        fine = (np.abs(codes - whole) <= NEAR) & (whole >= 0) & (whole < len(self.values))
        _require(fine, name, "is no label", "y", "the labels of encoding.y")
        return self._of_codes(whole.astype(int))

    def _codes(self, series):
        import pandas as pd

        _require_present(series)
        codes = pd.Index(list(self.values), dtype=object).get_indexer(series.astype(object))
        unseen = np.flatnonzero(codes < 0)
        if unseen.size:
            raise ValueError(
                f"frame: column {series.name!r} holds {_cell(series, unseen[0])} in row "
                f"{unseen[0]}, a category that was not seen; expected one of "
                f"{', '.join(map(repr, self.values[:8]))}"
            )
        return codes

    def _of_codes(self, codes):
        import pandas as pd

        if isinstance(self.dtype, pd.CategoricalDtype):
            return pd.Series(pd.Categorical.from_codes(codes, dtype=self.dtype))
        values = np.empty(len(self.values), object)
        values[:] = self.values
        return pd.Series(values[codes], dtype=object).astype(self.dtype)


def kind_of(series: "pd.Series", reference: bool) -> AbstractKind:
    """The kind of a column, from its dtype and values. ValueError for other dtypes and values."""
    import pandas as pd
    from pandas.api import types

    _require_present(series)
    dtype = series.dtype
    categorical = isinstance(dtype, pd.CategoricalDtype)
    text = types.is_object_dtype(dtype) or types.is_string_dtype(dtype)
    number = types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype)
    if not (categorical or text or number):
        raise ValueError(
            f"frame: column {series.name!r} has dtype {dtype}, expected numbers, booleans, text or "
            "categories; convert it to one of them, or drop it"
        )
    if number and not types.is_bool_dtype(dtype):
        _numbers(series)
    seen = series.unique().tolist()
    if len(seen) == 1:
        return Constant(dtype, seen[0])
    if categorical:
        return Categories(dtype, tuple(dtype.categories), reference)
    if types.is_bool_dtype(dtype):
        return Categories(dtype, (False, True), reference)
    if text:
        if all(types.is_number(value) and not types.is_bool(value) for value in seen):
            raise ValueError(
                f"frame: column {series.name!r} holds numbers as dtype {dtype}, expected a "
                "numeric dtype; convert it with pd.to_numeric, or to 'category'"
            )
        with contextlib.suppress(TypeError):  # values of several types stay in order of appearance
            seen = sorted(seen)
        return Categories(dtype, tuple(seen), reference)
    if types.is_integer_dtype(dtype):
        return Integer(dtype, int(series.min()), int(series.max()))
    return Real(dtype, float(series.min()), float(series.max()))


def _numbers(series) -> Float[np.ndarray, " n"]:
    from pandas.api import types

    _require_present(series)
    if not types.is_numeric_dtype(series.dtype):
        raise ValueError(
            f"frame: column {series.name!r} has dtype {series.dtype}, expected numbers as before"
        )
    values = series.to_numpy(float)
    wrong = ~np.isfinite(values), "infinite", "clip or drop it first"
    if types.is_integer_dtype(series.dtype):
        wrong = np.abs(values) > LARGEST, "too large to be kept exact", "make it text or a float"
    where = np.flatnonzero(wrong[0])
    if where.size:
        raise ValueError(
            f"frame: column {series.name!r} holds {_cell(series, where[0])} in row {where[0]}, "
            f"which is {wrong[1]}; {wrong[2]}"
        )
    return values


def _require_present(series):
    missing = np.flatnonzero(series.isna().to_numpy())
    if missing.size:
        raise ValueError(
            f"frame: column {series.name!r} has {missing.size} missing values, the first in row "
            f"{missing[0]}; impute or drop them first"
        )


def _require(fine, name, what, argument="x", instead="encoding.domain.place(x)"):
    """ValueError about the first row that is not `fine`."""
    rows = np.flatnonzero(~fine)
    if rows.size:
        raise ValueError(
            f"{argument}: column {name!r} {what}, first in row {rows[0]}; decode valid rows, "
            f"for example {instead}"
        )


def _cell(series, row) -> str:
    return repr(series.iloc[[row]].tolist()[0])  # `tolist` converts to Python's numbers
