"""Micro-models around any scikit-learn classifier (Cretu et al., "Casting out demons", IEEE S&P
2008).
"""

from typing import Any

import numpy as np

from bilevel.tools import require_count

from .._arguments import balance_argument, dispute_argument
from ..ensemble._parts import part_of
from ..sanitise._dispute import mean_dispute
from ..sanitise._quotas import BALANCE, by_quota
from ..sanitise._selection import no_worse
from ._choice import AUTO
from ._rows import Rows
from ._sanitiser import Sanitiser, Seen
from ._tasks import Classes, in_parallel


class MicroModelsClassifier(Classes, Sanitiser):
    """Train `models` models on as many parts of the rows; each row is judged by the vote of those
    that were not trained on it, and dropped if more than the share `dispute` of them dispute its
    label. The least disputed rows of each class stay in any case: `balance` times the share kept of
    the others.

    A part is drawn by a hash of the rows' features (the paper has time slices, and anomaly
    detectors): poison that keeps together in time is in all parts here. A part without rows has no
    model. Votes weigh the same. `n_jobs` processes share the trainings. By default `dispute` is .5,
    as published, .7, .9, or nothing is dropped, by cross-validation: see `Sanitiser` for that, and
    for what it holds once fitted.
    """

    _fewest_rows = 2
    _strength, _values = "dispute", (0.9, 0.7, 0.5)

    def __init__(
        self, estimator, models=10, dispute: Any = AUTO, balance=BALANCE, check=False, n_jobs=None
    ):
        self.estimator = estimator
        self.models = models
        self.dispute = dispute
        self.balance = balance
        self.check = check
        self.n_jobs = n_jobs

    def _inspect(self, rows: Rows) -> Seen:
        models, dispute = require_count("models", self.models, 2), dispute_argument(self.dispute)
        place = part_of(rows.x, models)
        parts = np.unique(place)
        other = place[None, :] != parts[:, None]

        def doubted(others: np.ndarray) -> np.ndarray:
            model = self._train(rows.take(~others))
            return np.asarray(model.predict(rows.given) != rows.y, np.float64)

        doubts = np.array(in_parallel(self.n_jobs, doubted, other))
        against = mean_dispute(doubts, other)
        used, balance = np.ones(against.size, bool), balance_argument(self.balance)
        sure = no_worse(against, dispute, used)
        keep = by_quota(against, sure, used, self._group(rows), balance)
        return Seen(rows.y, keep, against, parts.size)
