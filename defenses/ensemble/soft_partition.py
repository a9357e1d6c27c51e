"""A smooth partition: the members' decisions are averaged, and known rows stay in their parts."""

import equinox as eqx
from jaxtyping import Array, Int

from bilevel import Data
from bilevel.learners import AbstractLearner
from bilevel.tools import require_classes, require_count, require_weights, stop_gradient

from .._arguments import positive_argument
from ._ensemble import AbstractEnsemble
from ._parts import check_parts, deal, settle
from .votes import SoftVotingModel


class SoftPartition(AbstractEnsemble):
    """The attacker's smooth surrogate of `Partition`: the mean of tanh(decision / temperature).

    Of a prepared learner (an attack's) the known rows stay in their parts, wherever they move, and
    those after them go to part 0, 1, 2, ... by turns: an attacker can bring that about.
    """

    learner: AbstractLearner
    partitions: int
    temperature: float
    seed: int
    known: Int[Array, " k"] | None

    def __init__(
        self,
        learner: AbstractLearner,
        partitions: int = 50,
        temperature: float = 1.0,
        seed: int = 0,
    ):
        self.learner, self.partitions = learner, require_count("partitions", partitions)
        self.seed = seed
        self.temperature, self.known = positive_argument("temperature", temperature), None

    def places(self, data: Data) -> Int[Array, " n"]:
        """The part of each row."""
        return settle(data, self.known, self.partitions, self.seed)

    def members(self, data, *, key=None):
        """The rows of each part, some of weight zero."""
        del key
        return deal(data, self.places(data), self.partitions, self.seed)

    def vote(self, members, data):
        del data
        return SoftVotingModel(members, self.temperature)

    def check(self, data):
        require_weights(data)
        require_classes(data)
        check_parts(self.learner, self.members(data), "partitions")

    def prepare(self, data):
        return eqx.tree_at(
            lambda s: s.known, self, stop_gradient(self.places(data)), is_leaf=lambda a: a is None
        )
