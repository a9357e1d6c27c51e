"""Outlier filters around any scikit-learn model.

Steinhardt, Koh & Liang, "Certified defenses for data poisoning attacks", NeurIPS 2017; Koh,
Steinhardt & Liang, "Stronger data poisoning attacks break data sanitization defenses", 2018.
"""

from typing import Any

import numpy as np

from .._arguments import share_argument
from ..sanitise.filter import least_far
from ..sanitise.scores import AbstractScore, Distance
from ._choice import AUTO, SHARES
from ._rows import Rows
from ._sanitiser import Sanitiser, Seen
from ._tasks import Classes, Numbers


class Filter(Sanitiser):
    """Drops rows that lie far from the others of their group. Shared by both tasks."""

    _measures = True
    _strength, _values = "contamination", SHARES

    def __init__(
        self,
        estimator,
        outlier_score: AbstractScore = Distance(),
        contamination: Any = AUTO,
        check=False,
        n_jobs=None,
    ):
        self.estimator = estimator
        self.outlier_score = outlier_score
        self.contamination = contamination
        self.check = check
        self.n_jobs = n_jobs

    def _judge(self, rows: Rows, groups: list[np.ndarray]) -> Seen:
        """Scores rows within each group, a mask."""
        share_argument("contamination", self.contamination)
        keep, scores = np.zeros(rows.y.size, bool), np.zeros(rows.y.size)
        tie = rows.hashes()
        for group in groups:
            weight = np.where(group, rows.weight, 0)
            score = self.outlier_score(rows.x, weight, rows.weight - weight)
            keep |= least_far(score, group, self.contamination, tie)
            scores[group] = score[group]
        return Seen(rows.y, keep, scores, 0)


class FilterClassifier(Classes, Filter):
    """Drop, of each class, the share `contamination` of highest score (at least one row stays).

    - `contamination`: by default .05, .1, .2, .3, or nothing is dropped, by cross-validation: see
      `Sanitiser`.
    - `outlier_score`: `defenses.scores.Distance()`, `Slab()`, `Residual()`, `Neighbours()`.
      They measure distances: scale the columns first.

    See `Sanitiser` for what it holds once fitted.
    """

    def _inspect(self, rows: Rows) -> Seen:
        return self._judge(rows, [rows.y == label for label in np.unique(rows.y)])


class FilterRegressor(Numbers, Filter):
    """Drop the share `contamination` of all rows of highest score, by their features alone.

    Otherwise `FilterClassifier`.
    """

    def _inspect(self, rows: Rows) -> Seen:
        return self._judge(rows, [np.ones(rows.y.size, bool)])
