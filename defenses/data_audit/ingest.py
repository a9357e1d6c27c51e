"""A user's table made ready for an audit: clean, encoded, and the way back to its own units."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from pandas.api import types

from attacks.frames import Encoding, encode

from .columns import column_of
from .reading import Frame, Series, TableError, counted, require_column, stratified

MOST_ROWS = 50_000
MOST_FEATURES = 1_000
MOST_CLASSES = 50
FEW_VALUES = 20
"""Numbers of more different values are to be predicted as numbers, of fewer as classes."""
FEWEST_ROWS = 20
FEWEST_OF_CLASS = 5
Task = Literal["classes", "numbers"]


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """A table ready for an audit, of n rows.

    - `task`: whether the target is of classes or of numbers. `classes`: their names.
    - `encoding`: of the columns kept, see `attacks.frames`; `encoding.x` (n, d) is in [0, 1], and
      `encoding.y` (n,) is -1 and +1, 0, 1, 2, ... for more classes, or in [0, 1].
    - `weight` (n,): of the rows, mean 1; `number` (n,): their places in the user's table.
    - `raw`: the columns as they came, without target and weights.
    - `rows_given`: of the user's table. `notes`: what was done to it, in sentences.
    """

    task: Task
    classes: tuple[str, ...]
    target: str
    encoding: Encoding
    weight: Float[np.ndarray, " n"]
    number: Int[np.ndarray, " n"]
    raw: Frame
    rows_given: int
    notes: tuple[str, ...]
    back: dict[str, Callable[[Series], Series]]
    target_back: Callable[[Series], Series]

    @property
    def strata(self) -> Int[np.ndarray, " n"]:
        """The class of each row, or the fifth of the targets that it lies in."""
        return strata_of(self.encoding.y, self.task)

    def decoded(
        self, x: Float[np.ndarray, "m d"], y: Float[np.ndarray, " m"], like: Int[np.ndarray, " m"]
    ) -> tuple[Frame, Series]:
        """Rows x and labels y in the user's columns and units; columns that were dropped have the
        values of the rows `like` (m,).
        """
        frame = self.encoding.decode(x, y)
        rows = self.raw.iloc[like].reset_index(drop=True)
        for name, back in self.back.items():
            values = back(frame[name])
            try:
                rows[name] = values.astype(self.raw[name].dtype)
            except (TypeError, ValueError):  # integers with gaps, dates that were text
                rows[name] = values
        return rows, self.target_back(frame[self.target])


def strata_of(y: Float[np.ndarray, " n"], task: Task) -> Int[np.ndarray, " n"]:
    """The class of each label, or the fifth of the numbers that it lies in."""
    if task == "classes":
        return np.unique(y, return_inverse=True)[1]
    return np.searchsorted(np.quantile(y, [0.2, 0.4, 0.6, 0.8]), y)


def ingest(frame: Frame, target: str, weight: str | None = None, seed: int = 0) -> Table:
    """The table, ready for an audit.

    - `frame`: as `reading.read` returns it. `target`: name of the column to predict: text, truth
      values and numbers of at most 20 different values are classes, others are numbers.
    - `weight`: name of a column of weights of rows, > 0.
    - `seed`: of the sample that is taken of more than 50,000 rows.

    Raises `TableError`, with a sentence, for a table that cannot be audited.
    """
    given, notes = len(frame), []
    for what, name in (("target", target), ("weight", weight)):
        if name is not None:
            require_column(frame, what, name)
    if target == weight:
        raise TableError(f"weight: {weight!r} is the target; name another column")
    if frame.shape[1] - 1 - (weight is not None) < 1:
        raise TableError(f"table: there is no column besides {target!r}, expected features")
    weights = np.ones(given) if weight is None else _weights(frame[weight])
    present = ~frame[target].isin([np.inf, -np.inf]) & frame[target].notna()
    usable = present.to_numpy() & (weights > 0)
    if not usable.any():
        raise TableError(
            f"target: every value of {target!r} is missing or infinite, or has no weight"
        )
    if usable.sum() < FEWEST_ROWS:
        raise TableError(_too_few(int(usable.sum())))
    if not usable.all():
        left = counted(int((~usable).sum()), "row")
        notes.append(f"Left out: {left} without a finite target, or of weight zero.")
    task, labels, said = _target(frame[target][usable])
    notes += said
    if task == "classes":
        counts = labels.value_counts()
        rare = labels.isin(counts.index[counts < FEWEST_OF_CLASS])
        if rare.any():
            names = ", ".join(sorted(map(str, labels[rare].unique()))[:5])
            notes.append(f"Left out: {counted(int(rare.sum()), 'row')} of classes with fewer than "
                         f"{FEWEST_OF_CLASS} rows ({names}).")  # fmt: skip
            labels = labels[~rare]
    _require_variety(labels, target)
    rows = labels.index.to_numpy()
    if rows.size > MOST_ROWS:
        codes = pd.factorize(labels)[0] if task == "classes" else np.zeros(rows.size, int)
        rows = rows[stratified(codes, MOST_ROWS, seed)]
        notes.append(f"A stratified sample of {MOST_ROWS:,} of {labels.size:,} rows was taken.")
    raw = frame.iloc[rows].drop(columns=[target, *([weight] if weight else [])])
    raw = raw.reset_index(drop=True)
    features, back, said = _features(raw)
    notes += said
    labels = labels.loc[rows].reset_index(drop=True)
    clean: Any = pd.DataFrame({**features, target: labels})
    if task == "classes":
        clean[target] = clean[target].astype("category")
    encoding = encode(clean, target)
    if encoding.x.shape[1] > 4 * MOST_FEATURES:
        raise TableError(
            f"table: its categories make {encoding.x.shape[1]} features, expected at most "
            f"{4 * MOST_FEATURES}; drop columns"
        )
    names = tuple(str(v) for v in clean[target].cat.categories) if task == "classes" else ()
    kept = weights[rows]
    return Table(
        task, names, target, encoding, kept / kept.mean(), rows, raw, given, tuple(notes), back,
        _target_back(frame[target], task),
    )  # fmt: skip


def _weights(series: Series) -> Float[np.ndarray, " n"]:
    read: Any = pd.to_numeric(series, errors="coerce")
    values = read.to_numpy(float)
    if not np.all(np.isfinite(values)) or np.any(values < 0):
        raise TableError(f"weight: {series.name!r} holds values that are no weights, numbers >= 0")
    return values


def _target(series: Series) -> tuple[Task, Series, list[str]]:
    """What is to be predicted, and the labels: numbers, or text in an order of their own."""
    number = types.is_numeric_dtype(series.dtype) and not types.is_bool_dtype(series.dtype)
    if types.is_datetime64_any_dtype(series.dtype) or types.is_complex_dtype(series.dtype):
        raise TableError(
            f"target: {series.name!r} has dtype {series.dtype}, expected classes or numbers"
        )
    notes = []
    if not number and not isinstance(series.dtype, pd.CategoricalDtype):
        read: Any = pd.to_numeric(series, errors="coerce")
        if read.notna().all() and not types.is_bool_dtype(series.dtype) and read.nunique() > 2:
            number, series = True, read
            notes.append(f"The target {series.name!r} holds numbers as text; they were read.")
    if number and series.nunique() > FEW_VALUES:
        return "numbers", series.astype(float), notes
    if series.nunique() > MOST_CLASSES:
        raise TableError(
            f"target: {series.name!r} has {series.nunique()} classes, expected at most "
            f"{MOST_CLASSES}; merge classes, or name a column of numbers"
        )
    if number:
        series = series.astype(float)
        whole = (series == series.round()).all()
        return "classes", series.astype(np.int64) if whole else series, notes
    return "classes", series.map(str).astype(object), notes


def _target_back(series: Series, task: Task) -> Callable[[Series], Series]:
    """Labels as the user has them."""
    number = types.is_numeric_dtype(series.dtype) and not types.is_bool_dtype(series.dtype)
    if task == "numbers" or number:
        return lambda labels: labels.astype(float) if task == "numbers" else labels
    present = series.dropna()
    originals = dict(zip(present.map(str), present, strict=True))
    return lambda labels: labels.astype(object).map(lambda value: originals.get(value, value))


def _require_variety(labels: Series, target: str) -> None:
    if not len(labels):
        raise TableError(
            f"target: no class of {target!r} has {FEWEST_OF_CLASS} rows, expected two that have"
        )
    if labels.nunique() == 1:
        raise TableError(
            f"target: every usable row of {target!r} holds {str(labels.iloc[0])[:40]!r}, expected "
            "two classes or several numbers"
        )
    if len(labels) < FEWEST_ROWS:
        raise TableError(_too_few(len(labels)))


def _too_few(rows: int) -> str:
    return (
        f"table: got {counted(rows, 'usable row')}, expected at least {FEWEST_ROWS}: fewer cannot "
        "be split into rows to train on, to choose by and to judge by"
    )


def _features(
    raw: Frame,
) -> tuple[dict[str, Series], dict[str, Callable[[Series], Series]], list[str]]:
    """(columns made ready, their ways back, notes)."""
    notes = []
    if raw.shape[1] > MOST_FEATURES:
        kept = _telling(raw)
        notes.append(
            f"Of {raw.shape[1]:,} columns the {MOST_FEATURES:,} whose values differ most often "
            "from row to row were kept; the attack moves these alone."
        )
        raw = raw[kept]
    features, back, same = {}, {}, {}
    for name in raw.columns:
        column = column_of(raw[name])
        notes += [f"Column {name!r} {note}." for note in column.notes[:1]]
        notes += [f"Column {name!r}: {note}." for note in column.notes[1:]]
        if column.values is None or column.back is None:
            continue
        twin = same.setdefault((str(column.values.dtype), tuple(column.values.head(50))), name)
        if twin != name and column.values.equals(features[twin]):
            notes.append(f"Column {name!r} repeats {twin!r}: both were kept.")
        features[name], back[name] = column.values, column.back
    if not features:
        raise TableError("table: no column that varies is left to predict from: " + " ".join(notes))
    return features, back, notes


def _telling(raw: Frame) -> list[str]:
    """Names of the columns whose values differ most often from the commonest, in order."""
    first = raw.head(5_000)
    changes = np.zeros(first.shape[1])
    for i, name in enumerate(first.columns):
        codes = pd.factorize(np.asarray(first[name]))[0]
        changes[i] = 1 - np.bincount(codes + 1).max() / codes.size
    best = np.sort(np.argsort(-changes, kind="stable")[:MOST_FEATURES])
    return [raw.columns[i] for i in best]
