"""Columns as people have them, made into columns that can be encoded and given back."""

import re
from collections.abc import Callable, Collection, Hashable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas.api import types

from attacks._frame_kinds import LARGEST

from .reading import Series

MOST_CATEGORIES = 30
"""Categories that are kept apart; rarer ones are merged."""
ID_SHARE = 0.5
"""Share of different texts from which on a column is no category."""
MOSTLY, HALF = 0.9, 0.5
"""Share of values that must read as numbers, or as dates, for the column to be one; of numbers
beside so few texts that these may stand for missing ones.
"""
FEW_TEXTS = 5
COMMA = re.compile(r"^\s*[-+]?\d[\d.,]*,\d[\d.,]*\s*$")
DAY = pd.Timedelta(days=1)
EPOCH = pd.Timestamp(1970, 1, 1)
TIMELY = re.compile(r"(^|[^a-z])(date|time|timestamp|year|month|day|week)$", re.I)
IDLY = re.compile(r"(^|[^a-z])(id|uuid|guid|index|key|rownames?|unnamed: ?\d+)([^a-z]|$)", re.I)
DATE = re.compile(r"^\s*\d{4}-\d{1,2}-\d{1,2}|^\s*\d{1,2}[./]\d{1,2}[./]\d{2,4}")


class Column(NamedTuple):
    """A column that can be encoded, and the way back.

    - `values`: numbers or text, none missing; None for a column that is dropped.
    - `back`: of such values, in what the table holds.
    - `notes`: what was done to it, sentences without a subject.
    """

    values: Series | None
    back: Callable[[Series], Series] | None
    notes: tuple[str, ...]


def column_of(series: Series) -> Column:
    """The column made ready; it never fails: what cannot be used is dropped, and says so."""
    dtype = series.dtype
    if isinstance(dtype, pd.SparseDtype):
        series = pd.Series(np.asarray(series), index=series.index, name=series.name)
    if series.isna().all():
        return Column(None, None, ("holds no value: dropped",))
    if types.is_complex_dtype(series.dtype):
        return Column(None, None, ("holds complex numbers: dropped",))
    if types.is_bool_dtype(series.dtype) and not series.isna().any():
        return _varying(Column(series.astype(bool), _same, ()))
    if types.is_timedelta64_dtype(series.dtype):
        return _days(series + EPOCH, lambda days: pd.to_timedelta(days, unit="D"))
    if isinstance(series.dtype, pd.PeriodDtype):
        series = series.dt.to_timestamp()
    if types.is_datetime64_any_dtype(series.dtype):
        return _days(series, _date)
    if types.is_numeric_dtype(series.dtype) and not types.is_bool_dtype(series.dtype):
        return _numbers(series.astype(float), series, ())
    return _text(series)


def _same(values: Series) -> Series:
    return values


def _varying(column: Column) -> Column:
    """The column, or none where it has a single value."""
    values = column.values
    if values is None or values.nunique() > 1:
        return column
    return Column(None, None, (*column.notes, "has a single value: dropped"))


def _numbers(
    values: Series,
    given: Series,
    notes: tuple[str, ...],
    moments: Callable[[Series], Series] | None = None,
) -> Column:
    """Of numbers, or of days with a way back to moments, which number rows without being an id."""
    name, infinite = str(given.name), np.isinf(values.to_numpy())
    if infinite.any():
        notes = (*notes, f"{infinite.sum()} infinite values were taken as missing")
        values = values.where(~infinite)
    present = values.dropna()
    if not len(present):
        return Column(None, None, (*notes, "holds no finite number: dropped"))
    whole = bool((present == present.round()).all()) and bool((present.abs() < LARGEST).all())
    missing = len(values) - len(present)
    if missing:
        middle = float(present.median())
        middle = round(middle) if whole else middle
        told = f"{middle:.6g}"
        if moments is not None:
            told = str(moments(pd.Series([middle])).iloc[0]).removesuffix(" 00:00:00")
        notes = (*notes, f"{missing} missing values were set to the median, {told}")
        values = values.fillna(middle)
    if whole:
        unlike = moments is None and present.nunique() == len(present) > 20
        dense = present.max() - present.min() < 2 * len(present)
        if unlike and (dense or IDLY.search(name)):
            return Column(None, None, (*notes, "numbers the rows (an id): dropped"))
        values = values.astype(np.int64)
    if TIMELY.search(name):
        notes = (*notes, "looks like time: rows are held out at random, not the latest ones")
    return _varying(Column(values, _same, notes))


def _days(moments: Series, back: Callable[[Series], Series]) -> Column:
    """Time as a number of days."""
    if getattr(moments.dt, "tz", None) is not None:
        moments = moments.dt.tz_convert("UTC").dt.tz_localize(None)
    note = (
        "is time, taken as a number of days: rows are held out at random, not the latest ones, "
        "which flatters a model of the future"
    )
    days = ((moments - EPOCH) / DAY).rename(moments.name)
    column = _numbers(days, days.rename("t"), (note,), moments=back)
    return column._replace(back=back)


def _date(days: Series) -> Series:
    return EPOCH + pd.to_timedelta(days.round(5), unit="D")


def _text(series: Series) -> Column:
    """Text, categories, booleans with gaps, and columns of several types."""
    present = series.dropna().astype(object)
    numbers: Any = pd.to_numeric(present, errors="coerce")
    truth = present.map(lambda value: isinstance(value, bool | np.bool_))
    readable = float(np.mean(numbers.notna() & ~truth))
    categorical = isinstance(series.dtype, pd.CategoricalDtype)
    odd = present[numbers.isna()].map(str)
    mostly = readable >= HALF and present.nunique() > MOST_CATEGORIES and not categorical
    if (readable >= MOSTLY and not categorical) or (mostly and odd.nunique() <= FEW_TEXTS):
        notes = ()
        if readable < 1:
            notes = (
                f"is of mixed types: {len(odd)} values that are no number ({_some(odd)}), taken "
                "as missing",
            )
        values = numbers.reindex(series.index).astype(float)
        return _numbers(values, values.rename(series.name), notes)
    text = present.map(str)
    if not categorical and float(text.head(500).str.match(DATE).mean()) >= MOSTLY:
        moments: Any = pd.to_datetime(text, errors="coerce", format="mixed", utc=True)
        if float(moments.notna().mean()) >= MOSTLY:
            return _days(moments.dt.tz_localize(None).reindex(series.index), _date)
    kinds = {type(value).__name__ for value in present.head(1000)}
    notes = ()
    if len(kinds) > 1:
        notes = (f"is of mixed types ({', '.join(sorted(kinds))}): taken as text",)
    commas = text[text.str.match(COMMA)]
    if len(odd) and not categorical and readable + len(commas) / len(text) >= MOSTLY:
        notes = (
            *notes,
            f"holds numbers written with commas ({_some(commas)}): taken as text; write them with "
            "a point for decimals and nothing for thousands",
        )
    elif mostly:
        notes = (
            *notes,
            f"is mostly numbers, {len(odd)} of {len(text)} values are not ({_some(odd)}): taken as "
            "text; mend these or leave them empty",
        )
    return _categories(series, text, notes)


def _some(text: Series) -> str:
    """The first different values, quoted, each by its first letters."""
    different = text.unique()
    shown = ", ".join(repr(value[:20]) for value in different[:3])
    return shown + (", ..." if len(different) > 3 else "")


def free_name(name: str, taken: Collection[Hashable]) -> str:
    """The name, with an apostrophe for each time that a text of the user's is the same."""
    return name if name not in taken else free_name(f"{name}'", taken)


def _categories(series: Series, text: Series, notes: tuple[str, ...]) -> Column:
    counts = text.value_counts(sort=False)
    order = sorted(counts.index, key=lambda value: (-counts[value], value))
    if len(order) > max(ID_SHARE * len(text), 20):
        what = (
            f"has {len(order)} different texts in {len(text)} rows (an id, or free text): dropped"
        )
        return Column(None, None, (*notes, what))
    values = text.reindex(series.index)
    originals: dict[Hashable, Any] = dict(zip(text, series.loc[text.index], strict=True))
    if len(order) > MOST_CATEGORIES:
        rare, other = order[MOST_CATEGORIES - 1 :], free_name("(other)", counts.index)
        originals[other] = originals[rare[0]]
        values = values.where(~values.isin(rare), other)
        what = (
            f"has {len(order)} categories: the {len(rare)} rarest count as one, and poison rows "
            "have the commonest of these"
        )
        notes = (*notes, what)
    missing = int(values.isna().sum())
    if missing:
        name = free_name("(missing)", counts.index)
        originals[name] = None
        values = values.fillna(name)
        notes = (*notes, f"{missing} missing values count as a category of their own")

    def back(values: Series) -> Series:
        return values.astype(object).map(lambda value: originals[value])

    return _varying(Column(values.astype(object), back, notes))
