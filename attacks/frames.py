"""Encoding of data frames of mixed types as features in [0, 1], and its inverse."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Array, Float

from bilevel import Data

from ._frame_kinds import AbstractKind, Categories, Constant, Integer, Real, kind_of
from .domains import AbstractDomain, Box, Columns

if TYPE_CHECKING:
    import pandas as pd


Rows = Float[Array, "m d"] | Float[np.ndarray, "m d"]
Targets = Float[Array, " m"] | Float[np.ndarray, " m"]


@dataclasses.dataclass(frozen=True, eq=False)
class Encoding:
    """The encoding of a frame; made by `encode`.

    - `x` (n, d) in [0, 1], `y` (n,): the encoded frame.
    - `columns`: of the frame, in order; `target` is one of them.
    - `kinds`: of the columns other than the target; `target_kind`: of the target.
    """

    x: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, " n"]
    columns: tuple[Any, ...]
    target: Any
    kinds: tuple[AbstractKind, ...]
    target_kind: AbstractKind

    @property
    def data(self) -> Data:
        """The encoded frame as training data."""
        return Data(self.x, self.y)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the d features: the column, or column=category."""
        return tuple(f"{name}{label}" for name, kind in self._pairs() for label in kind.labels)

    def columns_of(self, name: Any) -> tuple[int, ...]:
        """Indices of the features of a column, for example a protected one; ValueError for a name
        that is none, or the target's.
        """
        features = {}
        for column, kind in self._pairs():
            first = sum(map(len, features.values()))
            features[column] = tuple(range(first, first + len(kind.labels)))
        if name not in features:
            raise ValueError(
                f"name: got {name!r}, expected one of {', '.join(map(repr, features))}"
            )
        return features[name]

    @property
    def constant(self) -> tuple[Any, ...]:
        """Columns of a single value, which are useless for prediction."""
        return tuple(name for name, kind in self._pairs() if isinstance(kind, Constant))

    @property
    def domain(self) -> Columns:
        """Valid rows: numbers within the range of the encoded frame, integers, categories."""
        upper, spacing, groups, optional = [], [], [], []
        for kind in self.kinds:
            many = len(kind.labels)
            if isinstance(kind, Categories) and not kind.binary:
                groups.append(range(len(upper), len(upper) + many))
                optional.append(kind.reference)
            upper += many * [0.0 if isinstance(kind, Constant) else 1.0]
            spacing += many * [kind.spacing]
        return Columns(np.zeros(len(upper)), np.array(upper), np.array(spacing), groups, optional)

    @property
    def targets(self) -> AbstractDomain:
        """Valid targets, for a numeric target; otherwise ValueError."""
        if not isinstance(self.target_kind, (Real, Integer)):
            raise ValueError(
                f"target: {self.target!r} holds categories, expected numbers; insert rows with "
                "fixed labels instead"
            )
        spacing = self.target_kind.spacing
        return Columns(0.0, 1.0, spacing) if spacing else Box(0.0, 1.0)

    def encode(self, frame: "pd.DataFrame") -> Data:
        """Other rows of the same columns, in any order, by the same scales and categories.

        Numbers outside the range of the encoded frame are outside [0, 1]. ValueError for missing
        or other columns, new categories, missing and infinite values.
        """
        series = _series(frame)
        missing = [name for name in self.columns if name not in series]
        foreign = [name for name in series if name not in self.columns]
        if missing or foreign:
            what = f"no column {missing[0]!r}" if missing else f"a column {foreign[0]!r}"
            raise ValueError(
                f"frame: got {what}, expected the columns that were encoded: "
                f"{', '.join(map(repr, self.columns))}"
            )
        y = self.target_kind.targets(series[self.target])
        return Data(_features(series, self._pairs()), y)

    def decode(self, x: Rows, y: Targets) -> "pd.DataFrame":
        """Rows x (m, d) and targets y (m,) as a frame with the encoded columns, dtypes and
        categories.

        ValueError for rows that encode no row of such a frame: an invalid one-hot group, or a
        number between two integers.
        """
        import pandas as pd

        x, y = np.asarray(x, float), np.asarray(y, float)
        ends = np.cumsum([len(kind.labels) for kind in self.kinds])
        if x.ndim != 2 or x.shape[1] != ends[-1] or y.shape != x.shape[:1]:
            raise ValueError(
                f"x, y: got shapes {x.shape} and {y.shape}, expected (m, {ends[-1]}) and (m,)"
            )
        if not (np.all(np.isfinite(x)) and np.all(np.isfinite(y))):
            raise ValueError("x, y: got values that are NaN or infinite, expected valid rows")
        parts = np.split(x, ends[:-1], axis=1)
        series = {self.target: self.target_kind.of_targets(y, self.target)}
        for (name, kind), part in zip(self._pairs(), parts, strict=True):
            series[name] = kind.decode(part, name)
        frame = pd.concat([series[name] for name in self.columns], axis=1)
        frame.columns = pd.Index(self.columns)
        return frame

    def _pairs(self):
        names = (name for name in self.columns if name != self.target)
        return list(zip(names, self.kinds, strict=True))


def encode(frame: "pd.DataFrame", target: Any, *, reference: bool = False) -> Encoding:
    """The encoding of a frame. Needs pandas.

    - `frame`: with at least one row, and one column besides the target.
    - `target`: name of the column to predict.
    - `reference`: encode the first category of a group as the all-zero row, without a feature.

    Numbers are scaled by their minimum and maximum to [0, 1], integers to levels. Booleans, and two
    categories, become one feature, 0 or 1. More categories (dtype `category`, text or objects)
    become a one-hot group. A column of a single value becomes a feature fixed to 0;
    `Encoding.constant` names it.

    Numeric targets are scaled in the same way. Two categories or booleans become -1 and +1, more
    become 0, 1, 2, ...: numeric labels need `frame.astype({target: "category"})` first. ValueError
    for missing or infinite values, and for other dtypes.
    """
    series = _series(frame)
    if target not in series:
        raise ValueError(
            f"target: got {target!r}, expected one of the columns {', '.join(map(repr, series))}"
        )
    names = [name for name in series if name != target]
    if not names:
        raise ValueError(f"frame: got no column besides the target {target!r}, expected features")
    kinds = tuple(kind_of(series[name], reference) for name in names)
    target_kind = kind_of(series[target], reference=False)
    if isinstance(target_kind, Constant):
        raise ValueError(
            f"target: every row of {target!r} holds {target_kind.value!r}, expected several values"
        )
    x = _features(series, zip(names, kinds, strict=True))
    y = target_kind.targets(series[target])
    return Encoding(x, y, tuple(series), target, kinds, target_kind)


def _features(series, pairs) -> Float[np.ndarray, "n d"]:
    return np.concatenate([kind.encode(series[name]) for name, kind in pairs], axis=1)


def _series(frame) -> dict[Any, Any]:
    """The columns by name; ValueError unless `frame` is a data frame with rows."""
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"frame: got a {type(frame).__name__}, expected a pandas DataFrame")
    if not len(frame):
        raise ValueError("frame: got no rows, expected some to encode")
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"frame: got two columns {twice!r}, expected different names")
    return {name: frame[name] for name in frame.columns}
