"""Malware in PDF files: the Contagio collection as features of PDFrate."""

import numpy as np

from ..report import UsageError
from ._source import Converted, arrays
from ._table import Table, scaled, squeezed

FILE = Converted(
    "pdf_contagio_dev.npz",
    "X (n, d), y (n,) with 1 for malware and the names `features` (d,), from contagio-ben.csv and "
    "contagio-mal.csv in the folder data of github.com/srndic/mimicus",
)


def pdf_malware() -> Table:
    """9,149 PDF files, 135 columns; +1 is malware, -1 is benign.

    The collection has 9,999 rows; the 850 that repeat an earlier one are dropped, so that no row
    can be in two parts. Features reach 1e13 (times, sizes): each is x -> sign(x) log(1 + |x|), then
    scaled. Five are constant, and 0 here.
    """
    path = FILE.path()
    held = arrays(path, {"X", "y", "features"}, "BILEVEL_DATA")
    try:
        _, first = np.unique(held["X"], axis=0, return_index=True)
        first.sort()
        x, y = held["X"][first].astype(float), held["y"][first]
        names = tuple(map(str, held["features"]))
        labels = np.where(y == 1, 1.0, -1.0)
        return Table(scaled(squeezed(x)), labels, names, measured=True)
    except (ValueError, IndexError, UsageError) as error:
        raise UsageError(f"{path}: does not hold {FILE.contents} ({error})") from error
