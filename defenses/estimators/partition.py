"""Deep partition aggregation around any scikit-learn classifier (Levine & Feizi, "Deep partition
aggregation: provable defenses against general poisoning attacks", ICLR 2021).
"""

import numpy as np
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.utils.validation import check_is_fitted

from bilevel.tools import require_count

from ..ensemble._parts import part_of
from ..ensemble.votes import certified
from ._rows import own_order
from ._tasks import Classes, in_parallel

FEW = 5
"""Rows of a class in a part, below which `message_` warns."""


class PartitionClassifier(Classes, MetaEstimatorMixin, BaseEstimator):
    """One model per part of the rows, `partitions` of them, and the majority of their votes.

    A hash of a row's own features says which part it is in, so that a row inserted or removed
    moves one vote: `certify` counts how many cannot change a prediction. A part without rows does
    not vote, and a part has room for all rows, other than in `defenses.Partition`; at a tie the
    first class wins.

    The certificate asks that training is deterministic: an estimator that draws at random needs an
    integer `random_state`. Rows may be what the estimator takes, sparse ones and frames too.

    Parts of few rows hold few of a rare class, or none, and their vote never predicts it:
    `message_` says so. Their number must not follow from the data, or a row could change all votes.

    Once fitted: `estimators_`, one per part that has rows, `classes_`, and `message_`.
    """

    def __init__(self, estimator, partitions=50, n_jobs=None):
        self.estimator = estimator
        self.partitions = partitions
        self.n_jobs = n_jobs

    def fit(self, X, y, sample_weight=None):
        """Train on rows X (n, d) with labels y (n,); the weights (n,), >= 0, are told to the
        estimators. A row of weight zero is none.
        """
        partitions = require_count("partitions", self.partitions)
        rows = self._checked(X, y, sample_weight)
        rows = rows.take(rows.weight > 0)
        rows = rows.take(own_order(rows))
        self.classes_ = np.unique(rows.y)
        part = part_of(rows.x, partitions)
        self._counts = np.array([
            np.bincount(part[rows.y == label], minlength=partitions) for label in self.classes_
        ])  # fmt: skip
        self.estimators_ = in_parallel(
            self.n_jobs, lambda each: self._train(rows.take(part == each)), np.unique(part)
        )
        return self

    def fit_resample(self, X, y):
        """Fit, and return X and y: all rows are trained on."""
        self.fit(X, y)
        return X, y

    @property
    def message_(self) -> str:
        check_is_fitted(self)
        rows, models = int(self._counts.sum()), len(self.estimators_)
        alone = int(np.sum(np.sum(self._counts > 0, axis=0) == 1))
        text = f"{rows} rows in {models} parts, {alone} of them of a single class"
        rarest = int(np.argmin(self._counts.sum(axis=1)))
        many, without = int(self._counts[rarest].sum()), int(np.sum(self._counts[rarest] == 0))
        mean = many / self._counts.shape[1]
        text += f"; a part has {mean:.3g} rows of class {self.classes_[rarest]} on average"
        if mean < FEW:
            text += (
                f", {without} have none: warning: most votes are likely to miss this class. Ask "
                f"for {max(1, many // FEW)} partitions or fewer, whatever the rows that come later,"
                " and compare recall with that of the undefended model"
            )
        return text

    def votes(self, X) -> Int[np.ndarray, "n k"]:
        """How many models predict each of `classes_` for rows X (n, d)."""
        X = self._given(X)
        predicted = np.array([model.predict(X) for model in self.estimators_])
        return np.sum(predicted[:, :, None] == self.classes_[None, None, :], axis=0)

    def predict(self, X):
        """The label (n,) that has most votes."""
        votes = self.votes(X)
        return self.classes_[np.argmax(votes, axis=1)]

    def predict_proba(self, X) -> Float[np.ndarray, "n k"]:
        """Shares of the votes."""
        return self.votes(X) / len(self.estimators_)

    def certify(self, X) -> Int[np.ndarray, " n"]:
        """How many training rows, inserted, removed or given another label, all together, cannot
        change the prediction of each row (theorem 1). Labels stay among `classes_`.
        """
        return certified(self.votes(X))
