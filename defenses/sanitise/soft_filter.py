"""A smooth filter: every row keeps a share, so that the derivative sees rows being thrown out."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax

from bilevel.learners import AbstractLearner

from .._arguments import positive_argument, share_argument
from ._groups import CLASSES, members, require_labels, score_argument
from ._inspection import Inspection, reweighed
from ._sanitiser import AbstractSoftSanitiser
from ._selection import soft_lowest
from .scores import AbstractScore, Distance


class SoftFilter(AbstractSoftSanitiser):
    """The attacker's smooth surrogate of `Filter`: of each class rows keep shares
    1 / (1 + (score / threshold)^sharpness), so that the derivative sees a row being thrown out.

    - `score`, `contamination`, `classes`: those of `Filter`.
    """

    learner: AbstractLearner
    score: AbstractScore
    contamination: float
    sharpness: float
    classes: tuple[float, ...] = eqx.field(static=True)

    def __init__(
        self,
        learner: AbstractLearner,
        score: AbstractScore = Distance(),
        contamination: float = 0.05,
        sharpness: float = 8.0,
        classes: tuple[float, ...] = CLASSES,
    ):
        self.learner, self.score, self.classes = learner, score_argument(score), tuple(classes)
        self.contamination = share_argument("contamination", contamination)
        self.sharpness = positive_argument("sharpness", sharpness)

    def check(self, data):
        require_labels(self.classes, data)
        self.learner.check(data)

    @eqx.filter_jit
    def inspect(self, data, *, key=None):
        del key  # nothing is trained
        x = data.x.reshape(data.rows, -1)
        share, scores = jnp.zeros_like(data.weight), jnp.zeros_like(data.weight)
        for inside in members(self.classes, data):
            of_class = jnp.where(inside, data.weight, 0)
            score = self.score(x, of_class, data.weight - of_class)
            used = lax.stop_gradient((of_class > 0).astype(score.dtype))
            count = (1 - self.contamination) * jnp.sum(used)
            kept = soft_lowest(score, used, count, self.sharpness)
            share = jnp.where(inside, kept, share)
            scores = jnp.where(inside, score, scores)
        given = lax.stop_gradient(data)
        group = given.targets() if self.classes else jnp.zeros_like(given.weight)
        return Inspection(reweighed(data, share), scores, jnp.int32(0), group=group)
