"""Deep k-nearest neighbours (Peri et al., "Deep k-NN defense against clean-label data poisoning
attacks", ECCV workshops 2020).
"""

import jax.numpy as jnp

from bilevel.learners import AbstractLearner
from bilevel.tools import require_count

from ._features import AbstractFeatureSanitiser, Judged
from ._votes import elected, shares


class DeepNeighbours(AbstractFeatureSanitiser):
    """Drops a row whose label is not the commonest one among its `k` nearest other rows in the
    features.

    - `k`: more than twice the number of poison rows that lie together, as the authors advise.

    The score is the share of the votes for the winner less that for the row's label. Stops poison
    whose features lie among another class; copies of a backdoor lie among themselves.
    """

    learner: AbstractLearner
    k: int

    def __init__(self, learner: AbstractLearner, k: int = 50):
        self.learner, self.k = learner, require_count("k", k)

    def judge(self, rows):
        labels = (rows.group[:, None] == rows.classes[None, :]).astype(rows.features.dtype)
        share = shares(rows.features, rows.data.weight.astype(labels.dtype), self.k, labels)
        winner, _ = elected(share, labels, 0.0)
        own = jnp.sum(share * labels, axis=1)
        score = jnp.max(share, axis=1) - own
        suspect = rows.used & (rows.classes[winner] != rows.group) & (score > 0)
        return Judged(suspect, score)
