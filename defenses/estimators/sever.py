"""SEVER (Diakonikolas et al., "Sever: a robust meta-algorithm for stochastic optimization", ICML
2019) around scikit-learn's linear models.
"""

import numpy as np
from jaxtyping import Float

from .._arguments import share_argument
from .._selection import kept_count, lowest
from ._rows import Rows
from ._sanitiser import Sanitiser, Verdict, at_least
from ._tasks import Classes, Numbers


class Sever(Sanitiser):
    """Drops rows whose gradients point where they vary most. Shared by both tasks."""

    def __init__(self, estimator, contamination=0.2, rounds=4):
        self.estimator = estimator
        self.contamination = contamination
        self.rounds = rounds

    def _inspect(self, rows: Rows) -> Verdict:
        share_argument("contamination", self.contamination)
        at_least(1, rounds=self.rounds)
        keep = np.ones(rows.y.size, bool)
        fewest = max(1, int(kept_count(keep, self.contamination)))
        scores = np.zeros(keep.size)
        for count in np.linspace(keep.size, fewest, self.rounds + 1)[1:].round().astype(int):
            scores[keep] = self._score(rows.take(keep))
            keep = lowest(scores, keep, count)
        return Verdict(rows.y, keep, scores, self.rounds)

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
        left, values, _ = np.linalg.svd(gradients - gradients.mean(axis=0), full_matrices=False)
        return (left[:, 0] * values[0]) ** 2


class SeverRegressor(Numbers, Sever):
    """Drop the share `contamination` of the rows in `rounds` equal parts: of a model trained on
    those left, the rows whose loss gradients, centred, project most on their top singular
    direction.

    - `estimator`: a linear model (`coef_`). The gradients are those of its squared residuals, in
      weights and bias. Columns of large numbers rule: scale them first.

    `scores_` are those of the round in which a row was dropped, or of the last one. See `Sanitiser`
    for what it holds once fitted.
    """


class SeverClassifier(Classes, Sever):
    """Drop rows by their gradients of the log loss, of the hinge loss if the classifier has no
    `predict_proba`.

    Otherwise `SeverRegressor`.
    """
