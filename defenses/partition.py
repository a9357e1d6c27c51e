"""Deep partition aggregation (Levine & Feizi, "Deep partition aggregation: provable defenses
against general poisoning attacks", ICLR 2021): a vote of models that share no row.
"""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from bilevel import Data
from bilevel.learners import AbstractLearner, AbstractModel
from bilevel.learners._checks import require_classes, require_weights
from bilevel.solvers.each import Each, Stack
from bilevel.tools import stop_gradient

from ._arguments import count_argument, positive_argument
from ._hash import row_hash
from ._parts import check_parts, deal, place_by_content, settle


class AbstractVote(AbstractModel):
    """Members, as one model whose arrays have a leading axis."""

    members: eqx.AbstractVar[AbstractModel]

    def decisions(self, x: PyTree) -> Float[Array, "k n"]:
        """What each member says."""
        return eqx.filter_vmap(lambda member: member.decision(x))(self.members)


class VotingModel(AbstractVote):
    """The class that most members predict; of equally many, the class -1.

    `spare` (k,) is for how many more rows a part has room; negative, where rows were left out.
    """

    members: AbstractModel
    spare: Int[Array, " k"]

    def votes(self, x: PyTree) -> Int[Array, "2 n"]:
        """How many members predict -1, and +1."""
        ahead = self.decisions(x) > 0
        return jnp.stack([jnp.sum(~ahead, axis=0), jnp.sum(ahead, axis=0)])

    def decision(self, x):
        """Mean of the predictions -1 and +1, a tie being the least lead of -1."""
        said = self.decisions(x)
        lead = jnp.sum(jnp.where(said > 0, 1, -1).astype(said.dtype), axis=0)
        return jnp.where(lead == 0, -1, lead) / said.shape[0]

    def certify(self, x: PyTree) -> Int[Array, " n"]:
        """Per row, how many training rows may be inserted, removed, or some of both, without any
        change of its prediction. A row that is changed counts twice.

        Each of them changes the vote of its own part, and the room of all by one row at most: which
        may change the votes of parts that are full, or all but full. A vote moves the lead by two.
        """
        against, for_ = self.votes(x)
        lead = for_ - against
        bearable = jnp.where(lead > 0, (lead - 1) // 2, -lead // 2)
        rows = jnp.arange(1, self.spare.size + 1, dtype=lead.dtype)
        full = jnp.sum(self.spare[:, None] < rows[None, :], axis=0, dtype=lead.dtype)
        return jnp.sum((rows + full)[:, None] <= bearable[None, :], axis=0, dtype=lead.dtype)


class SoftVotingModel(AbstractVote):
    """Mean of tanh(decision / temperature) of the members."""

    members: AbstractModel
    temperature: float

    def decision(self, x):
        return jnp.mean(jnp.tanh(self.decisions(x) / self.temperature), axis=0)


class AbstractPartition(AbstractLearner):
    """Trains a member on the rows of each part, as one problem."""

    learner: eqx.AbstractVar[AbstractLearner]
    partitions: eqx.AbstractVar[int]
    seed: eqx.AbstractVar[int]

    @abc.abstractmethod
    def places(self, data: Data) -> Int[Array, " n"]:
        """The part of each row."""

    def members(self, data: Data) -> Data:
        """The rows of each part, a stack, some of weight zero."""
        return deal(data, self.places(data), self.partitions, self.seed)

    @property
    def solver(self):
        return Each(self.learner.solver)

    @property
    def loss(self):
        return self.learner.loss

    def check(self, data: Data) -> None:
        require_weights(data)
        require_classes(data)
        check_parts(self.learner, self.members(data), "partitions")

    def problem(self, data: Data) -> Stack:
        return Stack(eqx.filter_vmap(self.learner.problem)(self.members(data)))

    def prepare_rows(self, x):
        return self.learner.prepare_rows(x)

    def kinks(self, data: Data) -> Float[Array, " k"]:
        return jnp.ravel(eqx.filter_vmap(self.learner.kinks)(self.members(data)))


class Partition(AbstractPartition):
    """The vote of `partitions` models, each trained on the rows of one part of the data.

    Which part a row is in depends on nothing but the row (a hash of its features and label), so
    that an attacker's row spoils one vote: `fit(data).certify(x)` says how many it takes. Votes
    have no derivative; `SoftPartition` is the attacker's surrogate, scored by this.

    The certificate is of the row's prediction, right or wrong, under this training: the learner is
    to be a function of its rows alone, as all here are. A part has room for about its share of the
    rows and four standard deviations more; what does not fit is left out (see `deal`).
    """

    learner: AbstractLearner
    partitions: int
    seed: int

    def __init__(self, learner: AbstractLearner, partitions: int = 50, seed: int = 0):
        self.learner, self.partitions = learner, count_argument("partitions", partitions, 1)
        self.seed = seed

    def places(self, data):
        return place_by_content(row_hash(data.x, data.y, self.seed), self.partitions)

    def prepare(self, data):
        """Itself: an added row may come anywhere between the known ones of its part."""
        del data
        return self

    def model(self, data: Data, value: PyTree) -> VotingModel:
        members = self.members(data)
        place = jnp.where(data.weight > 0, self.places(data), self.partitions)
        spare = members.weight.shape[1] - jnp.bincount(place, length=self.partitions)
        return VotingModel(eqx.filter_vmap(self.learner.model)(members, value), spare)


class SoftPartition(AbstractPartition):
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
        self.learner, self.partitions = learner, count_argument("partitions", partitions, 1)
        self.seed = seed
        self.temperature, self.known = positive_argument("temperature", temperature), None

    def places(self, data):
        return settle(data, self.known, self.partitions, self.seed)

    def prepare(self, data):
        return eqx.tree_at(
            lambda s: s.known, self, stop_gradient(self.places(data)), is_leaf=lambda a: a is None
        )

    def model(self, data: Data, value: PyTree) -> SoftVotingModel:
        members = eqx.filter_vmap(self.learner.model)(self.members(data), value)
        return SoftVotingModel(members, self.temperature)
