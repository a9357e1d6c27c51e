"""A table from where it lies: a data frame, a CSV or a Parquet file, or a sentence why not."""

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# pandas' stubs give most methods unions of a dozen types.
Frame = Any
Series = Any

READABLE = (".csv", ".tsv", ".txt", ".csv.gz", ".parquet", ".pq")


class TableError(ValueError):
    """A table, or a question about it, that cannot be audited: one sentence says why."""


def read(source: Any) -> Frame:
    """The table of a file, or a copy of a data frame, with rows numbered from 0.

    - `source`: a DataFrame, or the path of a CSV (`.csv`, `.tsv`, `.txt`, packed or not) or of a
      Parquet file, which needs pyarrow.

    Raises `TableError` for files that are not there, empty, or broken in a line, or have a line of
    more or fewer values than names, for two columns of one name, and for tables without rows or
    columns.
    """
    if isinstance(source, pd.DataFrame):
        frame = source.copy()
    elif isinstance(source, str | Path):
        frame = _file(Path(source))
    else:
        raise TableError(
            f"table: got a {type(source).__name__}, expected a pandas DataFrame or the path of a "
            "CSV or Parquet file"
        )
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise TableError(f"table: two columns are named {str(twice)!r}; rename or drop one of them")
    frame.columns = pd.Index([str(name) for name in frame.columns])
    if not frame.columns.is_unique:
        raise TableError("table: two columns have the same name once written as text; rename one")
    if frame.shape[1] == 0 or len(frame) == 0:
        raise TableError(
            f"table: got {len(frame)} rows and {frame.shape[1]} columns, expected rows to audit"
        )
    return frame.reset_index(drop=True)


def _file(path: Path) -> Frame:
    if path.is_dir():
        raise TableError(f"table: {str(path)!r} is a folder; name a file in it")
    if not path.is_file():
        raise TableError(f"table: there is no file {str(path)!r}; check the path")
    if not path.name.lower().endswith(READABLE):
        raise TableError(
            f"table: {path.name!r} is not one of {', '.join(READABLE)}; save it as CSV or Parquet"
        )
    if path.suffix.lower() in {".parquet", ".pq"}:
        try:
            return pd.read_parquet(path)
        except ImportError:
            raise TableError(
                "table: reading Parquet needs pyarrow, which is not installed; install it or save "
                "the table as CSV"
            ) from None
        except (OSError, ValueError) as error:
            raise TableError(f"table: {path.name!r} is no Parquet file ({error})") from None
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    opened: Any = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            _require_even(csv.reader(file, delimiter=separator, skipinitialspace=True), separator)
        # Without `index_col` pandas takes the first of too many values as a name of the row.
        return pd.read_csv(
            path, sep=separator, low_memory=False, skipinitialspace=True, index_col=False
        )
    except pd.errors.EmptyDataError:
        raise TableError(
            f"table: {path.name!r} is empty; expected a line of names, and rows"
        ) from None
    except (pd.errors.ParserError, csv.Error) as error:
        said = str(error).strip().splitlines()[-1].removeprefix("Error tokenizing data. C error: ")
        raise TableError(
            f"table: {path.name!r} has a broken line ({said}); mend or remove that line"
        ) from None
    except UnicodeDecodeError as error:
        raise TableError(
            f"table: {path.name!r} is not UTF-8 (byte {error.object[error.start]:#x}); save it as "
            "UTF-8"
        ) from None
    except OSError as error:
        why = error.strerror or error  # a false archive has no number of the system's
        raise TableError(f"table: {path.name!r} cannot be read ({why})") from None


def _require_even(lines: Any, separator: str) -> None:
    """Names that differ in the first line, and as many values in each other one.

    - `lines`: a `csv.reader`.
    """
    filled: Iterator[list[str]] = filter(any, lines)  # pandas skips empty lines
    names = next(filled, None)
    if names is None:
        raise pd.errors.EmptyDataError
    for other in (";", "\t", "|", ","):
        if len(names) == 1 and other in names[0]:  # the separator itself is in no name
            raise TableError(
                f"table: the first line is parted by {other!r}, expected {separator!r} between "
                f"columns; read the table by pandas' read_csv(..., sep={other!r}), or save it anew"
            )
    named = list(filter(None, names))
    if len(set(named)) < len(named):
        twice = next(name for name in named if named.count(name) > 1)
        raise TableError(
            f"table: two columns are named {twice!r} in the first line; rename or drop one"
        )
    for values in filled:
        if len(values) != len(names):
            raise csv.Error(
                f"expected {len(names)} values as in the first line, got {len(values)} in line "
                f"{lines.line_num}"
            )


def require_column(frame: Frame, what: str, name: Any) -> None:
    """`TableError` for what is not the name of a column."""
    if not isinstance(name, str):
        raise TableError(f"{what}: got a {type(name).__name__}, expected the name of a column")
    if name not in frame:
        near = ", ".join(map(repr, list(frame.columns)[:12]))
        raise TableError(f"{what}: there is no column {name!r}; the columns are {near}")


def counted(count: int, what: str) -> str:
    """So many of them, in words."""
    return f"{count:,} {what}{'s' if count != 1 else ''}"


def stratified(group: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Indices, in order, of `count` rows at random with the shares of the groups (n,)."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(group.size)
    order = order[np.argsort(group[order], kind="stable")]
    picked = np.floor(np.arange(1, group.size + 1) * count / group.size)
    return np.sort(order[np.diff(picked, prepend=0) > 0])
