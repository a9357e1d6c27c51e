"""Spam and ham of one Enron employee as bags of words."""

import numpy as np
from scipy.sparse import csr_array

from ..report import UsageError
from ._source import Converted, arrays
from ._table import Table

FILE = Converted(
    "enron1_bow.npz",
    "the counts of words as compressed sparse rows `data`, `indices`, `indptr`, `shape` (n, d), "
    "`y` (n,) with 1 for spam and the words `vocab` (d,), from enron1 of Metsis et al. (2006)",
)


def enron(words: int) -> Table:
    """5,172 mails, 1 where a mail has a word, for the most frequent words; +1 is spam, -1 is ham.

    Words are counted in how many mails have them; of as frequent ones the first in the file.
    """
    path = FILE.path()
    names = {"data", "indices", "indptr", "shape", "y", "vocab"}
    held = arrays(path, names, "BILEVEL_DATA")
    try:
        shape = tuple(int(size) for size in held["shape"])
        has = csr_array((held["data"] > 0, held["indices"], held["indptr"]), shape=shape)
        common = np.argsort(-np.bincount(has.indices, minlength=shape[1]), kind="stable")[:words]
        x, y = has[:, common].toarray().astype(float), np.where(held["y"] == 1, 1.0, -1.0)
        return Table(x, y, tuple(map(str, held["vocab"][common])))
    except (ValueError, IndexError, TypeError, UsageError) as error:
        raise UsageError(f"{path}: does not hold {FILE.contents} ({error})") from error
