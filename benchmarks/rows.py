"""Selecting among the rows of a report."""

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def where(rows: Sequence[Row], **cells: Any) -> list[Row]:
    """The rows that have these cells."""
    return [row for row in rows if all(row[name] == value for name, value in cells.items())]


def column(rows: Sequence[Row], name: str, **cells: Any) -> list[Any]:
    """One column of the rows that have these cells."""
    return [row[name] for row in where(rows, **cells)]


def distinct(rows: Sequence[Row], name: str) -> list[Any]:
    """The different values of a column, in the order in which they come."""
    return list(dict.fromkeys(row[name] for row in rows))
