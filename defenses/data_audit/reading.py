"""A table from where it lies: a data frame, a CSV or a Parquet file, or a sentence why not."""

import csv
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

    Raises `TableError` for files that are not there, empty, or broken in a line, for two columns of
    one name, and for tables without rows or columns.
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
    try:
        header = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str)
        names = header.iloc[0].dropna()
        if not names.is_unique:
            twice = names[names.duplicated()].iloc[0]
            raise TableError(
                f"table: two columns are named {twice!r} in the first line; rename or drop one"
            )
        return pd.read_csv(path, sep=separator, low_memory=False, skipinitialspace=True)
    except pd.errors.EmptyDataError:
        raise TableError(
            f"table: {path.name!r} is empty; expected a line of names, and rows"
        ) from (None)
    except (pd.errors.ParserError, csv.Error) as error:
        said = str(error).strip().splitlines()[-1].removeprefix("Error tokenizing data. C error: ")
        raise TableError(
            f"table: {path.name!r} has a broken line ({said}); mend or remove that line"
        ) from None
    except UnicodeDecodeError as error:
        raise TableError(
            f"table: {path.name!r} is not UTF-8 (byte {error.start}); save it as UTF-8"
        ) from None
    except OSError as error:
        raise TableError(f"table: {path.name!r} cannot be read ({error.strerror})") from None


def stratified(group: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Indices, in order, of `count` rows at random with the shares of the groups (n,)."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(group.size)
    order = order[np.argsort(group[order], kind="stable")]
    picked = np.floor(np.arange(1, group.size + 1) * count / group.size)
    return np.sort(order[np.diff(picked, prepend=0) > 0])
