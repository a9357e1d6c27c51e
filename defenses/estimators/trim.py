"""TRIM (Jagielski et al., IEEE S&P 2018, algorithm 2) around any scikit-learn model."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from sklearn.exceptions import ConvergenceWarning

from bilevel.tools import require_count

from .._arguments import balance_argument, share_argument
from ..sanitise._quotas import BALANCE, quota
from ..sanitise._selection import kept_count, lowest
from ..sanitise.trim import TRIALS, drawn_sets, promising
from ._choice import AUTO, SHARES
from ._rows import Rows, seed_of
from ._sanitiser import Sanitiser, Seen
from ._tasks import Classes, Numbers, in_parallel


class Search(NamedTuple):
    """Where a search stands: the rows to train on next, and those of the last training, with its
    outcome.
    """

    keep: Bool[np.ndarray, " n"]
    trained: Bool[np.ndarray, " n"]
    score: Float[np.ndarray, " n"]
    loss: float  # mean over the rows kept
    trainings: int = 0

    @property
    def settled(self) -> bool:
        return np.array_equal(self.keep, self.trained)


class Trim(Sanitiser):
    """Drops the rows that fit worst under a model trained on the others. Shared by both tasks."""

    _strength, _values = "contamination", SHARES

    def __init__(
        self,
        estimator,
        contamination: Any = AUTO,
        restarts=0,
        max_trainings=100,
        random_state=None,
        balance=BALANCE,
        check=False,
        n_jobs=None,
    ):
        self.estimator = estimator
        self.contamination = contamination
        self.restarts = restarts
        self.max_trainings = max_trainings
        self.random_state = random_state
        self.balance = balance
        self.check = check
        self.n_jobs = n_jobs

    def _inspect(self, rows: Rows) -> Seen:
        share_argument("contamination", self.contamination)
        restarts = require_count("restarts", self.restarts, 0)
        trainings = require_count("max_trainings", self.max_trainings)
        used, content = np.ones(rows.y.size, bool), rows.hashes()
        count, balance = kept_count(used, self.contamination), balance_argument(self.balance)
        least = quota(self._group(rows), used, 1 - self.contamination, balance)

        def search(state: Search, limit: int) -> Search:
            keep, trained, score, loss, number = state
            while number < limit and not np.array_equal(keep, trained):
                score = self._losses(self._train(rows.take(keep)), rows)
                keep, trained = lowest(score, used, count, content, least), keep
                loss = float(np.average(score[keep], weights=rows.weight[keep]))
                number += 1
            return Search(keep, trained, score, loss, number)

        def begin(keep: np.ndarray) -> Search:
            return Search(keep, ~keep, np.zeros(keep.size), 0.0)

        ends, spent = [search(begin(used), trainings)], 0
        if restarts > 0:
            seed = seed_of(self.random_state)
            drawn = drawn_sets(rows.x, rows.target, used, count, restarts, seed, least)
            tried = in_parallel(self.n_jobs, lambda keep: search(begin(keep), TRIALS), drawn)
            best = promising(np.array([each.loss for each in tried]))
            spent = sum(each.trainings for each in tried) - sum(tried[b].trainings for b in best)
            limit = max(trainings, TRIALS + 1)
            ends += in_parallel(self.n_jobs, lambda b: search(tried[b], limit), best)
        best = ends[int(np.argmin([each.loss for each in ends]))]
        if not best.settled:
            warnings.warn(
                f"the rows kept still change after max_trainings={trainings} trainings; "
                "allow more, or give an estimator that draws at random a random_state",
                ConvergenceWarning,
                stacklevel=4,
            )
        spent += sum(each.trainings for each in ends)
        return Seen(rows.y, best.keep, best.score, spent)


class TrimRegressor(Numbers, Trim):
    """Drop the share `contamination` of the rows, those with the largest residuals under a model
    that is trained on the others.

    Train on all rows, keep those of smallest loss, and again until the set stays (or
    `max_trainings`). So also from `restarts` random sets, of which the best quarter after two
    trainings goes on; the set of the least mean loss is taken. `n_jobs` processes share the
    restarts.

    Choose the regularisation on rows known to be clean: a model that can interpolate poison keeps
    it. A `contamination` above the true share drops clean rows; `message_` says whether a gap sets
    the dropped ones apart. By default it is .05, .1, .2, .3, or nothing is dropped, by
    cross-validation, which takes about a hundred trainings: see `Sanitiser` for that, and for what
    it holds once fitted.
    """


class TrimClassifier(Classes, Trim):
    """Drop the share `contamination` of the rows, those with the largest losses under a model that
    is trained on the others: log loss of `predict_proba`, else minus the margin of
    `decision_function`.

    - `balance`: each class keeps this part, at least, of the share that the others keep. At 0, as
      published, a rare class, which fits worst, is dropped first.

    Otherwise `TrimRegressor`.
    """
