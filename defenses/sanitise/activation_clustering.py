"""Activation clustering (Chen et al., "Detecting backdoor attacks on deep neural networks by
activation clustering", 2018).
"""

import jax.numpy as jnp

from bilevel.learners import AbstractLearner
from bilevel.tools import require_count

from ._clusters import clusters
from ._features import AbstractFeatureSanitiser, Judged
from .cluster_rules import AbstractClusterRule, SmallCluster


class ActivationClustering(AbstractFeatureSanitiser):
    """Splits the rows of each class in two by their features, and drops the smaller part where the
    rule takes it for poison.

    - `rule`: `SmallCluster()`, `Silhouette()`, `NearOther()` or `Excluded()`.
    - `components`: of each class, k-means sees so many (10 as published).
    - `whiten`: components of unit variance. Independent components, as published, are these
      rotated, and k-means sees no rotation. Without: principal components.

    The score is the distance to the centre of the larger cluster less that to the smaller one.
    Stops copies that come from another class each. Where poison is about half of a class, as with
    all of a backdoor's copies in one class, the smaller cluster is no smaller, or is the clean one.
    """

    learner: AbstractLearner
    rule: AbstractClusterRule
    components: int
    whiten: bool

    def __init__(
        self,
        learner: AbstractLearner,
        rule: AbstractClusterRule = SmallCluster(),
        components: int = 10,
        whiten: bool = True,
    ):
        if not isinstance(rule, AbstractClusterRule):
            raise ValueError(
                f"rule: got {rule!r}, expected SmallCluster(), Silhouette(), NearOther() or "
                "Excluded()"
            )
        self.learner, self.rule, self.whiten = learner, rule, whiten
        self.components = require_count("components", components)

    def judge(self, rows):
        found = clusters(rows, self.components, self.whiten)
        flagged, result = self.rule.suspicious(found, rows, self.learner)
        suspect = jnp.any(found.small & flagged[:, None], axis=0)
        return Judged(suspect, found.score, self.rule.trainings, result)
