"""SEVER (Diakonikolas et al., "Sever: a robust meta-algorithm for stochastic optimization", ICML
2019) around scikit-learn's linear models.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from bilevel.tools import require_count

from .._arguments import balance_argument, share_argument
from ..sanitise._quotas import BALANCE, quota
from ..sanitise._selection import kept_count
from ..sanitise.sever import least_along, round_share
from ._choice import AUTO, SHARES
from ._rows import Rows
from ._sanitiser import Sanitiser, Seen
from ._tasks import Classes, Numbers


class Sever(Sanitiser):
    """Drops rows whose gradients point where they vary most. Shared by both tasks."""

    _measures = True
    _strength, _values = "contamination", SHARES

    def __init__(
        self,
        estimator,
        contamination: Any = AUTO,
        rounds=4,
        balance=BALANCE,
        check=False,
        n_jobs=None,
    ):
        self.estimator = estimator
        self.contamination = contamination
        self.rounds = rounds
        self.balance = balance
        self.check = check
        self.n_jobs = n_jobs

    def _inspect(self, rows: Rows) -> Seen:
        share_argument("contamination", self.contamination)
        rounds = require_count("rounds", self.rounds)
        keep, used = np.ones(rows.y.size, bool), np.ones(rows.y.size, bool)
        scores, content, group = np.zeros(keep.size), rows.hashes(), self._group(rows)
        balance = balance_argument(self.balance)
        for number in range(rounds):
            along = np.zeros(keep.size)
            along[keep] = self._score(rows.take(keep))
            share = round_share(self.contamination, rounds, np.float32(number))
            least = quota(group, used, 1 - share, balance)
            left, along = least_along(along, keep, kept_count(used, share), content, least)
            scores, keep = np.where(keep, along, scores), left
        return Seen(rows.y, keep, scores, rounds)

    def _score(self, rows: Rows) -> Float[np.ndarray, " n"]:
        """Squared projections of the rows' gradients on the direction in which they vary most."""
        model = self._train(rows)
        slopes = self._slopes(model, rows)
        if slopes.any() and not hasattr(model, "coef_"):
            raise ValueError(
                f"estimator: got {model!r}, which has no coef_ once trained, expected a linear "
                "model; what scales or encodes rows goes ahead of the defense in a pipeline"
            )
        inputs = np.column_stack([rows.x, np.ones(rows.y.size)])
        gradients = slopes[:, :, None] * inputs[:, None, :]
        gradients = gradients.reshape(rows.y.size, -1)
        share = rows.weight[:, None] / np.sum(rows.weight)
        centred = gradients - np.sum(share * gradients, axis=0)
        direction = np.linalg.svd(np.sqrt(share) * centred, full_matrices=False)[2][0]
        return (centred @ direction) ** 2


class SeverRegressor(Numbers, Sever):
    """Drop the share `contamination` of the rows in `rounds` equal parts: of a model trained on
    those left, the rows whose loss gradients, centred, project most on their top singular
    direction.

    - `estimator`: a linear model (`coef_`). The gradients are those of its squared residuals, in
      weights and bias. Columns of large numbers rule: scale them first.

    By default `contamination` is .05, .1, .2, .3, or nothing is dropped, by cross-validation: see
    `Sanitiser` for that, and for what it holds once fitted. `scores_` are those of the round in
    which a row was dropped, or of the last one, in units of the largest that was kept in it.
    """


class SeverClassifier(Classes, Sever):
    """Drop rows by their gradients of the log loss, of the hinge loss if the classifier has no
    `predict_proba`.

    - `balance`: each class keeps this part, at least, of the share that the others keep.

    Otherwise `SeverRegressor`.
    """
