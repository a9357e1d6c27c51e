"""Micro-models around any scikit-learn classifier (Cretu et al., "Casting out demons", IEEE S&P
2008).
"""

import numpy as np

from ._rows import Rows
from ._sanitiser import Sanitiser, Verdict, at_least
from ._tasks import Classes


class MicroModelsClassifier(Classes, Sanitiser):
    """Train `models` models on as many chunks of the rows; each row is judged by the vote of those
    that were not trained on it, and dropped if more than half dispute its label (the least
    disputed rows stay in any case).

    Rows are dealt out by a hash of their content, class by class (the paper has time slices, and
    anomaly detectors): poison that keeps together in time is in all chunks here. Votes weigh the
    same. See `Sanitiser` for what it holds once fitted.
    """

    _fewest_rows = 2

    def __init__(self, estimator, models=10):
        self.estimator = estimator
        self.models = models

    def _inspect(self, rows: Rows) -> Verdict:
        at_least(2, models=self.models)
        n = rows.y.size
        models = min(self.models, n)
        chunk = np.empty(n, int)
        chunk[np.argsort(rows.y, kind="stable")] = np.arange(n) % models
        against = np.zeros(n)
        for each in range(models):
            others = chunk != each
            model = self._train(rows.take(~others))
            against[others] += model.predict(rows.take(others).given) != rows.y[others]
        against /= models - 1
        return Verdict(rows.y, against <= max(0.5, against.min()), against, models)
