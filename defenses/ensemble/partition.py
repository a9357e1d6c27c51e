"""Deep partition aggregation (Levine & Feizi, "Deep partition aggregation: provable defenses
against general poisoning attacks", ICLR 2021): a vote of models that share no row.
"""

import jax.numpy as jnp
from jaxtyping import Array, Int

from bilevel import Data
from bilevel.learners import AbstractLearner
from bilevel.tools import require_classes, require_count, require_weights

from .._defense import softened
from ._ensemble import AbstractEnsemble
from ._parts import check_parts, deal, part_of
from .soft_partition import SoftPartition
from .votes import VotingModel


class Partition(AbstractEnsemble):
    """The vote of `partitions` models, each trained on the rows of one part of the data.

    Which part a row is in depends on nothing but its features (a hash of them), so that an
    attacker's row, or a label that he flips, spoils one vote: `fit(data).model.certify(x)` counts
    how many it takes. Votes have no derivative; `SoftPartition` is the attacker's surrogate,
    scored by this.

    The certificate is of the row's prediction, right or wrong, under this training: the learner
    must be a function of its rows alone, as all here are. A part has room for about its share of
    the rows and four standard deviations more; what does not fit is left out (see `deal`). Parts of
    few rows hold few of a rare class, and their vote rarely predicts it: take so few partitions
    that each has some rows of every class.
    """

    learner: AbstractLearner
    partitions: int
    seed: int

    def __init__(self, learner: AbstractLearner, partitions: int = 50, seed: int = 0):
        self.learner, self.partitions = learner, require_count("partitions", partitions)
        self.seed = seed

    def places(self, data: Data) -> Int[Array, " n"]:
        """The part of each row."""
        return part_of(data.x, self.partitions, self.seed)

    def members(self, data, *, key=None):
        """The rows of each part, some of weight zero."""
        del key
        return deal(data, self.places(data), self.partitions, self.seed)

    def vote(self, members, data):
        place = jnp.where(data.weight > 0, self.places(data), self.partitions)
        size = self.members(data).weight.shape[1]
        return VotingModel(members, size - jnp.bincount(place, length=self.partitions))

    def check(self, data):
        require_weights(data)
        require_classes(data)
        check_parts(self.learner, self.members(data), "partitions")

    def prepare(self, data):
        """Itself: an added row may come anywhere between the known ones of its part."""
        del data
        return self

    def surrogate(self, data):
        """`SoftPartition` around the same learner."""
        return SoftPartition(softened(self.learner, data), self.partitions, seed=self.seed)
