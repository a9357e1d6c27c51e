"""Tables for classification from the UCI repository."""

from typing import Any

import numpy as np

from ..report import UsageError
from ._source import Original, numbers, unpacked
from ._table import Table, scaled, squeezed

SPAMBASE = Original(
    "spambase.data",
    "https://raw.githubusercontent.com/HassanRezaee/ML_from_Scratch/"
    "e1482281d53813f394d24f07070cee37e3e078ad/spambase.data",
    "1855d678d9019f325b7bcd6f6a4c9baedac6f291aa9cad59e5f79a25f1988372",
)
WORDS = (
    "make address all 3d our over remove internet order mail receive will people report addresses "
    "free business email you credit your font 000 money hp hpl george 650 lab labs telnet 857 data "
    "415 85 technology 1999 parts pm direct cs meeting original project re edu table conference"
)
SPAM_NAMES = (
    *(f"word_freq_{word}" for word in WORDS.split()),
    *(f"char_freq_{sign}" for sign in ";([!$#"),
    *(f"capital_run_length_{kind}" for kind in ("average", "longest", "total")),
)


def spambase() -> Table:
    """4,601 mails, 57 columns; +1 is spam, -1 is not.

    Frequencies and lengths of runs span orders of magnitude: each is x -> log(1 + x), then scaled.
    391 rows repeat an earlier one; they are kept, as they are in published results.
    """
    path = SPAMBASE.path()
    try:
        held = numbers(unpacked(path).decode(errors="replace"))
        label = np.where(held[:, -1] == 1, 1.0, -1.0)
        return Table(scaled(squeezed(held[:, :-1])), label, SPAM_NAMES, measured=True)
    except (ValueError, UsageError) as error:
        raise UsageError(f"{path}: is no complete spambase ({error}); fetch it again") from error


def breast_cancer() -> Table:
    """569 tumours (Wisconsin diagnostic), 30 columns; +1 is benign, -1 malignant.

    The rows of `sklearn.datasets.load_breast_cancer()`, in its order, scaled.
    """
    from sklearn.datasets import load_breast_cancer

    held: Any = load_breast_cancer()
    names = tuple(map(str, held.feature_names))
    return Table(scaled(held.data), 2.0 * held.target - 1, names, measured=True)
