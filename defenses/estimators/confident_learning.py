"""Confident learning around any scikit-learn classifier (Northcutt, Jiang & Chuang, "Confident
learning: estimating uncertainty in dataset labels", JAIR 2021).
"""

import numpy as np
from scipy.special import expit, softmax

from bilevel.tools import require_count

from .._arguments import balance_argument
from ..sanitise._quotas import BALANCE, by_quota
from ..sanitise.confident_learning import folds_of, off_diagonal
from ._rows import Rows
from ._sanitiser import Sanitiser, Seen
from ._tasks import Classes, decisions, in_parallel


class ConfidentLearningClassifier(Classes, Sanitiser):
    """Drop the rows of each class that models trained without them most hold to be of another, as
    many as the confident joint counts (see `defenses.ConfidentLearning`).

    - `folds`: how many parts of the rows are judged by models of the others; of few rows, fewer.
    - `balance`: each class keeps this part, at least, of the share that the others together keep.
    - `n_jobs`: how many processes share the trainings.

    Probabilities are those of `predict_proba`, else a sigmoid or softmax of `decision_function`.
    See `Sanitiser` for what it holds once fitted.
    """

    _fewest_rows = 2

    def __init__(self, estimator, folds=5, balance=BALANCE, check=True, n_jobs=None):
        self.estimator = estimator
        self.folds = folds
        self.balance = balance
        self.check = check
        self.n_jobs = n_jobs

    def _inspect(self, rows: Rows) -> Seen:
        folds, balance = require_count("folds", self.folds, 2), balance_argument(self.balance)
        used, hashes, group = np.ones(rows.y.size, bool), rows.hashes(), self._group(rows)
        place = folds_of(hashes, group, used, min(folds, rows.y.size))
        classes, own = np.unique(rows.y), np.unique(rows.y, return_inverse=True)[1]
        p, folds = np.zeros((own.size, classes.size)), np.unique(place)
        judged = folds if folds.size > 1 else folds[:0]  # without others there is no model

        def told(fold: np.integer) -> tuple[np.ndarray, np.ndarray]:
            model = self._train(rows.take(place != fold))
            return model.classes_, _probabilities(model, rows.take(place == fold))

        for fold, (known, shares) in zip(
            judged, in_parallel(self.n_jobs, told, judged), strict=True
        ):
            p[np.ix_(place == fold, np.isin(classes, known))] = shares
        doubted, score = off_diagonal(p, np.eye(classes.size)[own], used, hashes)
        keep = by_quota(score, ~doubted, used, group, balance)
        return Seen(rows.y, keep, score, judged.size)


def _probabilities(model, rows: Rows) -> np.ndarray:
    if hasattr(model, "predict_proba"):
        return model.predict_proba(rows.given)
    f = decisions(model, rows)
    # Of two classes they are -f and f: their softmax would be the sigmoid of 2 f.
    return expit(f - f.mean(axis=1, keepdims=True)) if f.shape[1] == 2 else softmax(f, axis=1)
