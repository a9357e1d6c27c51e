"""Micro-models (Cretu, Stavrou, Locasto, Stolfo & Keromytis, "Casting out demons: sanitizing
training data for anomaly sensors", IEEE S&P 2008): models of parts of the data judge its rows.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int

from bilevel import Data
from bilevel.learners import AbstractLearner
from bilevel.tools import (
    require_classes,
    require_count,
    require_weights,
    stop_gradient,
)

from .._arguments import balance_argument, dispute_argument
from .._defense import softened
from ..ensemble._parts import check_parts, deal, part_of
from ._dispute import disputed, wrong_side
from ._inspection import Inspection, quota_gaps, reweighed
from ._quotas import BALANCE, by_quota
from ._sanitiser import AbstractHardSanitiser, mask_of
from ._selection import no_worse
from .soft_micro_models import SoftMicroModels


class MicroModels(AbstractHardSanitiser):
    """Drop the rows whose label is disputed by more than the share `dispute` of `models` models,
    each trained on a part of the rows; no model judges what it was trained on. Of each class the
    least disputed rows stay in any case: `balance` times the share kept of the others.

    As published for anomaly sensors: a part is a slice of time, a vote says normal or not and
    counts once, or as much as its slice is large, and the threshold is tuned (.5 is the majority).
    Here a part is drawn by the rows' features, all votes count the same, and it is the label (-1 or
    +1) that a model disputes. A model that cannot be trained is a failure of the whole. The votes
    carry no derivative, the training on the rows kept does; `SoftMicroModels` has one in all rows.

    Stops wrong labels and far rows while most parts hold few of them: an attack that lasts through
    the data, as one that is shuffled in, is in every part.
    """

    learner: AbstractLearner
    models: int
    dispute: float
    seed: int
    balance: float

    def __init__(
        self,
        learner: AbstractLearner,
        models: int = 10,
        dispute: float = 0.5,
        seed: int = 0,
        balance: float = BALANCE,
    ):
        self.learner, self.models = learner, require_count("models", models, 2)
        self.balance = balance_argument(balance)
        self.dispute, self.seed = dispute_argument(dispute), seed

    def places(self, data: Data) -> Int[Array, " n"]:
        """The part of each row."""
        return part_of(data.x, self.models, self.seed)

    def parts(self, data: Data) -> Data:
        """The rows of each part, a stack, some of weight zero."""
        return deal(data, self.places(data), self.models, self.seed)

    def check(self, data):
        require_weights(data)
        require_classes(data)
        check_parts(self.learner, self.parts(data), "models")

    def prepare(self, data):
        """Itself: the parts that the learner is trained on do not begin with the known rows."""
        del data
        return self

    def surrogate(self, data):
        """`SoftMicroModels` around the same learner."""
        return SoftMicroModels(
            softened(self.learner, data), self.models, self.dispute, seed=self.seed,
            balance=self.balance,
        )  # fmt: skip

    @eqx.filter_jit
    def inspect(self, data, *, key=None):
        still, given = stop_gradient((self, data))
        places, parts = still.places(given), still.parts(given)
        score, result = disputed(still.learner, given, places, parts, wrong_side, key)
        used, y = given.weight > 0, given.targets()
        sure = no_worse(score, self.dispute, used)
        keep = by_quota(score, sure, used, y, self.balance)
        margin = quota_gaps(jnp.abs(score - self.dispute), score, sure, keep, used, y)
        kept = reweighed(data, mask_of(keep, data.weight))
        return Inspection(kept, score, jnp.int32(self.models), result, margin, group=y)
