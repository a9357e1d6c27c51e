"""Label sanitisation by nearest neighbours around any scikit-learn classifier (Paudice,
Munoz-Gonzalez & Lupu, "Label sanitization against label flipping poisoning attacks", 2018).
"""

import numpy as np
from sklearn.neighbors import NearestNeighbors

from ._rows import Rows
from ._sanitiser import Sanitiser, Verdict, at_least
from ._tasks import Classes


class RelabelClassifier(Classes, Sanitiser):
    """A row takes the label of most of its `k` nearest other rows, if they are sure enough.

    - `k`: how many neighbours vote, by Euclidean distance: scale the columns first.
    - `agreement`: the least share of the votes that the commonest label needs. At a tie a row
      keeps its label.

    All labels are read before any is changed. Once fitted, `labels_` (n,) are those trained on;
    see `Sanitiser` for the rest. `fit_resample` returns all rows with these labels.
    """

    _fewest_rows = 2

    def __init__(self, estimator, k=10, agreement=0.5):
        self.estimator = estimator
        self.k = k
        self.agreement = agreement

    def _inspect(self, rows: Rows) -> Verdict:
        at_least(1, k=self.k)
        if not 0 < self.agreement <= 1:
            raise ValueError(
                f"agreement: got {self.agreement}, expected a share of the votes in (0, 1]"
            )
        classes, own = np.unique(rows.y, return_inverse=True)
        k = min(self.k, own.size - 1)
        near = NearestNeighbors(n_neighbors=k).fit(rows.x).kneighbors(return_distance=False)
        share = np.mean(own[near][:, :, None] == np.arange(classes.size)[None, None, :], axis=1)
        mine = np.eye(classes.size)[own]
        commonest = np.argmax(share + 0.5 / k * mine, axis=1)  # less than a vote: breaks ties
        sure = np.max(share, axis=1) >= self.agreement
        labels = classes[np.where(sure, commonest, own)]
        against = 1 - np.sum(share * mine, axis=1)
        return Verdict(labels, np.ones(own.size, bool), against, 0)

    def fit(self, X, y):
        """Change labels y (n,) of rows X (n, d) by the vote of their neighbours, and train."""
        self.labels_ = self._fit(X, y).y
        return self

    def fit_resample(self, X, y):
        """Fit, and return X and the labels trained on, of the type of y."""
        labels = self.fit(X, y).labels_.reshape(np.shape(y))
        if not hasattr(y, "iloc"):
            return X, labels
        y = y.copy()
        y.iloc[:] = labels
        return X, y
