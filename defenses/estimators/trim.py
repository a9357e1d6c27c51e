"""TRIM (Jagielski et al., IEEE S&P 2018, algorithm 2) around any scikit-learn model."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from .._arguments import share_argument
from .._selection import kept_count, lowest
from ._rows import Rows
from ._sanitiser import Sanitiser, Verdict, at_least
from ._tasks import Classes, Numbers


class Trim(Sanitiser):
    """Drops the rows that fit worst under a model trained on the others. Shared by both tasks."""

    def __init__(
        self, estimator, contamination=0.2, restarts=0, max_trainings=100, random_state=None
    ):
        self.estimator = estimator
        self.contamination = contamination
        self.restarts = restarts
        self.max_trainings = max_trainings
        self.random_state = random_state

    def _inspect(self, rows: Rows) -> Verdict:
        share_argument("contamination", self.contamination)
        at_least(0, restarts=self.restarts)
        at_least(1, max_trainings=self.max_trainings)
        everything = np.ones(rows.y.size, bool)
        count = max(1, int(kept_count(everything, self.contamination)))
        rng = check_random_state(self.random_state)
        starts = [everything]
        for _ in range(self.restarts):
            starts.append(rng.permutation(everything.size) < count)
        found = [self._search(rows, start, count) for start in starts]
        best = found[int(np.argmin([np.mean(each.score[each.keep]) for each in found]))]
        return best._replace(trainings=sum(each.trainings for each in found))

    def _search(self, rows: Rows, keep: np.ndarray, count: int) -> Verdict:
        before, score, trainings = ~keep, np.zeros(keep.size), 0
        while trainings < self.max_trainings and not np.array_equal(keep, before):
            score = self._losses(self._train(rows.take(keep)), rows)
            before, keep = keep, lowest(score, np.ones_like(keep), count)
            trainings += 1
        if not np.array_equal(keep, before):
            warnings.warn(
                f"the rows kept still change after max_trainings={self.max_trainings} trainings; "
                "allow more, or give an estimator that draws at random a random_state",
                ConvergenceWarning,
                stacklevel=5,
            )
        return Verdict(rows.y, keep, score, trainings)


class TrimRegressor(Numbers, Trim):
    """Drop the share `contamination` of the rows, those with the largest residuals under a model
    that is trained on the others.

    From all rows, and from `restarts` random subsets: train, keep the rows of smallest loss, until
    the set stays (or `max_trainings`); the set of the least mean loss is taken.

    Choose the regularisation on rows known to be clean: a model that can interpolate poison keeps
    it. A `contamination` above the true share drops clean rows; `message_` says whether a gap sets
    the dropped ones apart. See `Sanitiser` for what it holds once fitted.
    """


class TrimClassifier(Classes, Trim):
    """Drop the share `contamination` of the rows, those with the largest losses under a model that
    is trained on the others: log loss of `predict_proba`, else minus the margin of
    `decision_function`.

    Otherwise `TrimRegressor`.
    """
