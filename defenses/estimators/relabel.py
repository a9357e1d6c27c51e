"""Label sanitisation by nearest neighbours around any scikit-learn classifier (Paudice,
Munoz-Gonzalez & Lupu, "Label sanitization against label flipping poisoning attacks", 2018).
"""

from typing import Any

import numpy as np

from bilevel.tools import require_count

from .._arguments import agreement_argument, balance_argument
from ..sanitise._quotas import by_quota
from ..sanitise._votes import elected, shares
from ..sanitise.soft_relabel import AGREEMENT, UNTURNED
from ._choice import AUTO
from ._rows import Rows
from ._sanitiser import Sanitiser, Seen
from ._tasks import Classes


class RelabelClassifier(Classes, Sanitiser):
    """A row takes the label of most of its `k` nearest other rows, if they are sure enough.

    - `k`: how many neighbours vote, by Euclidean distance, and all that are as far as the last:
      scale the columns first.
    - `agreement`: the least share of the votes that the commonest label needs (.5 as published); by
      default .9, .7, .5, or no label is changed, by cross-validation. At a tie a row keeps its
      label.
    - `balance`: of each class the rows with the fewest votes against them keep their label in any
      case: this part of the share of the other classes that does.

    All labels are read before any is changed. Once fitted, `labels_` (n,) are those trained on;
    see `Sanitiser` for the rest. `fit_resample` returns all rows with these labels.
    """

    _fewest_rows = 2
    _strength, _values = "agreement", (AGREEMENT, 0.7, 0.5)
    _measures = True

    def __init__(
        self, estimator, k=10, agreement: Any = AUTO, balance=UNTURNED, check=False, n_jobs=None
    ):
        self.estimator = estimator
        self.k = k
        self.agreement = agreement
        self.balance = balance
        self.check = check
        self.n_jobs = n_jobs

    def _inspect(self, rows: Rows) -> Seen:
        k, agreement = require_count("k", self.k), agreement_argument(self.agreement)
        classes, number = np.unique(rows.y, return_inverse=True)
        one_hot, weight = np.eye(classes.size)[number], rows.weight
        share = shares(rows.x, weight, k, one_hot)
        commonest, enough = elected(share, one_hot, agreement)
        against = 1 - np.sum(share * one_hot, axis=1)
        agreed, used = ~enough | (commonest == number), np.ones(number.size, bool)
        balance = balance_argument(self.balance)
        stays = by_quota(against, agreed, used, number.astype(np.float64), balance)
        labels = classes[np.where(stays, number, commonest)]
        return Seen(labels, np.ones(number.size, bool), against, 0)

    def fit(self, X, y, sample_weight=None):
        """Change labels y (n,) of rows X (n, d) by the vote of their neighbours, and train."""
        self.labels_ = self._fit(X, y, sample_weight).y
        return self

    def fit_resample(self, X, y):
        """Fit, and return X and the labels trained on, of the type of y."""
        labels = self.fit(X, y).labels_.reshape(np.shape(y))
        if not hasattr(y, "iloc"):
            return X, labels
        y = y.copy()
        y.iloc[:] = labels
        return X, y
