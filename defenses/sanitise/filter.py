"""Outlier filters: rows far from where their class lies are dropped before training.

Steinhardt, Koh & Liang, "Certified defenses for data poisoning attacks", NeurIPS 2017; Koh,
Steinhardt & Liang, "Stronger data poisoning attacks break data sanitization defenses", 2018.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from bilevel.learners import AbstractLearner
from bilevel.tools import stop_gradient

from .._arguments import share_argument
from .._defense import softened
from .._hash import row_hash
from ._groups import CLASSES, members, require_labels, score_argument
from ._inspection import Inspection, gaps, reweighed
from ._sanitiser import AbstractHardSanitiser, mask_of
from ._selection import kept_count, level, lowest
from .scores import AbstractScore, Distance
from .soft_filter import SoftFilter


class Filter(AbstractHardSanitiser):
    """Drops, of each class, the share `contamination` of highest score.

    - `score`: `scores.Distance()` (the default), `Slab()`, `Residual()` or `Neighbours()`.
    - `classes`: the labels; empty for regression, where all rows are one class.

    Rows kept carry the derivative of the defended learner; which are kept has none, see
    `SoftFilter`. Stops points far from their class; optimised poison inside it passes.
    """

    learner: AbstractLearner
    score: AbstractScore
    contamination: float
    classes: tuple[float, ...] = eqx.field(static=True)

    def __init__(
        self,
        learner: AbstractLearner,
        score: AbstractScore = Distance(),
        contamination: float = 0.05,
        classes: tuple[float, ...] = CLASSES,
    ):
        self.learner, self.score, self.classes = learner, score_argument(score), tuple(classes)
        self.contamination = share_argument("contamination", contamination)

    def check(self, data):
        require_labels(self.classes, data)
        self.learner.check(data)

    def surrogate(self, data):
        """`SoftFilter` around the same learner."""
        learner = softened(self.learner, data)
        return SoftFilter(learner, self.score, self.contamination, classes=self.classes)

    @eqx.filter_jit
    def inspect(self, data, *, key=None):
        del key  # nothing is trained
        given = stop_gradient(data)
        used, tie = given.weight > 0, row_hash(given.x, given.y)
        x = given.x.reshape(data.rows, -1)
        keep = jnp.zeros(data.rows, bool)
        scores, margin = jnp.zeros_like(given.weight), jnp.full_like(given.weight, jnp.inf)
        for inside in members(self.classes, given):
            of_class = jnp.where(inside, given.weight, 0)
            score = self.score(x, of_class, given.weight - of_class)
            left = least_far(score, inside & used, self.contamination, tie)
            keep = jnp.where(inside, left, keep)
            scores = jnp.where(inside, score, scores)
            margin = jnp.where(inside, gaps(score, left, inside & used), margin)
        kept = reweighed(data, mask_of(keep, data.weight))
        group = given.targets() if self.classes else jnp.zeros_like(given.weight)
        return Inspection(kept, scores, jnp.int32(0), margin=margin, group=group)


def least_far(score: Any, group: Any, contamination: float, tie: Any) -> Any:
    """Rows of a group, a mask (n,), without the share of them of highest score (n,)."""
    return lowest(level(score), group, kept_count(group, contamination), tie)
