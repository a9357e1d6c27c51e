"""A screen for copies around any scikit-learn model."""

import numpy as np

from bilevel.tools import require_count

from .._arguments import positive_argument
from ..sanitise.duplicates import first_copies
from ._rows import Rows
from ._sanitiser import Sanitiser, Seen
from ._tasks import Classes, Numbers


class Duplicates(Sanitiser):
    """Keeps few of equal rows. Shared by both tasks."""

    _measures = True

    def __init__(self, estimator, copies=1, tolerance=1e-6, check=False, n_jobs=None):
        self.estimator = estimator
        self.copies = copies
        self.tolerance = tolerance
        self.check = check
        self.n_jobs = n_jobs

    def _inspect(self, rows: Rows) -> Seen:
        copies = require_count("copies", self.copies)
        tolerance = positive_argument("tolerance", self.tolerance)
        used = np.ones(rows.y.size, bool)
        keep, many = first_copies(rows.x, rows.target, used, copies, tolerance)
        return Seen(rows.y, keep, many.astype(np.float64), 0)


class DuplicatesClassifier(Classes, Duplicates):
    """Of rows with equal features and labels, keep `copies` at most; equal up to `tolerance` times
    the standard deviation of a column (see `defenses.Duplicates`).

    See `Sanitiser` for what it holds once fitted.
    """


class DuplicatesRegressor(Numbers, Duplicates):
    """Of rows with equal features and targets, keep `copies` at most.

    Otherwise `DuplicatesClassifier`.
    """
