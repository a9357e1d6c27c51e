"""Splits and poison from npz files, so that two programs attack the same rows."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..report import UsageError
from ._source import arrays
from ._table import Group, Parts, Table


class Poison(NamedTuple):
    """Poison of another program, and what it started from.

    - `x`, `start_x`: (m, d). `y`, `start_y`: (m,).
    - `strength`: of the regularisation it was made for, as that program counts it.
    """

    x: np.ndarray
    y: np.ndarray
    start_x: np.ndarray
    start_y: np.ndarray
    strength: float


def filed_parts(path: Path) -> Parts:
    """A split that is filed as numbers.

    The file holds rows and targets of training, `trnx` (n, d) and `trny` (n,), of validation,
    `vldx` and `vldy`, of test, `tstx` and `tsty`, and `colmap`: JSON of the one-hot features, each
    with its list of columns. Columns have no names there; here they are called by their numbers.
    """
    option, kinds = "--splits-file", ("trn", "vld", "tst")
    held = arrays(path, {"colmap", *(f"{kind}{a}" for kind in kinds for a in "xy")}, option)
    try:
        mapping = json.loads(str(held["colmap"]))
        groups = tuple(Group(name, tuple(columns)) for name, columns in mapping.items())
    except (ValueError, AttributeError, TypeError) as error:
        raise UsageError(
            f"{option}: in {path}, colmap is no JSON of the form {{feature: [columns]}} ({error})"
        ) from error
    names = tuple(map(str, range(held["trnx"].shape[-1])))
    try:
        return Parts(*(Table(held[f"{k}x"], held[f"{k}y"], names, groups) for k in kinds))
    except (ValueError, UsageError) as error:
        raise UsageError(f"{option}: {path} holds no split ({error})") from error


def filed_poison(path: Path) -> Poison:
    """Poison that is filed as `px` (m, d), `py` (m,), its start as `ix`, `iy`, and `lam`."""
    option = "--poison-file"
    held = arrays(path, {"px", "py", "ix", "iy", "lam"}, option)
    x, y, start_x, start_y = (held[name] for name in ("px", "py", "ix", "iy"))
    same = x.ndim == 2 and x.shape == start_x.shape and x.shape[:1] == y.shape == start_y.shape
    if not same or held["lam"].shape != ():
        shapes = ", ".join(str(held[name].shape) for name in ("px", "py", "ix", "iy", "lam"))
        raise UsageError(
            f"{option}: in {path}, px, py, ix, iy, lam have shapes {shapes}, "
            "expected (m, d), (m,), (m, d), (m,), ()"
        )
    return Poison(x, y, start_x, start_y, float(held["lam"]))


def numbered_parts(path: Path, table: Table) -> tuple[Parts, np.ndarray]:
    """A split that is filed as numbers of rows of a table: `tr`, `val` and `ts`; and the numbers
    within `tr` of the rows that poison starts from, `init`.
    """
    option, names = "--splits-file", ("tr", "val", "ts", "init")
    held = arrays(path, set(names), option)
    sizes = {name: len(table.y) for name in names} | {"init": len(held["tr"])}
    for name in names:
        index = held[name]
        if index.ndim != 1 or index.dtype.kind not in "iu":
            raise UsageError(f"{option}: in {path}, {name} is no list of numbers of rows")
        if np.any((index < 0) | (index >= sizes[name])):
            raise UsageError(
                f"{option}: in {path}, {name} holds numbers outside 0 to {sizes[name] - 1}; "
                "the split is for another table"
            )
    return table.parts(*(held[name] for name in names[:3])), held["init"]
