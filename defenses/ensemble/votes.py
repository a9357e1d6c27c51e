"""Votes of an ensemble's members, and how many rows cannot change them (Levine & Feizi 2021)."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from bilevel.learners import AbstractModel
from bilevel.tools import program


class AbstractVote(AbstractModel):
    """Members, as one model whose arrays have a leading axis."""

    members: eqx.AbstractVar[AbstractModel]

    def decisions(self, x: PyTree) -> Float[Array, "k n"]:
        """The decision of each member."""
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

    def decision(self, x, *, key=None):
        """Mean of the predictions -1 and +1, a tie being the least lead of -1."""
        del key
        decisions = self.decisions(x)
        lead = jnp.sum(jnp.where(decisions > 0, 1, -1).astype(decisions.dtype), axis=0)
        return jnp.where(lead == 0, -1, lead) / decisions.shape[0]

    def certify(self, x: PyTree) -> Int[Array, " n"]:
        """Per row, how many training rows may be inserted, removed, given another label, or some
        of each, without any change of its prediction. A row that is changed counts twice.

        Each of them changes the vote of its own part, and the room of all by one row at most: which
        may change the votes of parts that are full, or all but full.
        """
        return _certificate(self, x)


@program
def _certificate(model: VotingModel, x: PyTree) -> Int[Array, " n"]:
    return certified(model.votes(x).T, model.spare)


class SoftVotingModel(AbstractVote):
    """Mean of tanh(decision / temperature) of the members."""

    members: AbstractModel
    temperature: float

    def decision(self, x, *, key=None):
        del key
        return jnp.mean(jnp.tanh(self.decisions(x) / self.temperature), axis=0)


def certified(votes: Any, spare: Any = None) -> Any:
    """How many rows of the data, each of which changes one vote, cannot change the winner (n,),
    which is the first of the classes that have most votes (n, classes).

    - `spare` (k,): for how many more rows each part has room. Up to r changes of the data may also
      change the votes of the parts with room for fewer than r. None: parts of any size.

    Theorem 1 of Levine & Feizi, for NumPy's and JAX's arrays alike. A vote that goes over to a
    rival changes the lead by two.
    """
    xp = votes.__array_namespace__()
    winner = xp.argmax(votes, axis=1)[:, None]
    columns = xp.arange(votes.shape[1])[None, :]
    rivals = xp.where(columns == winner, 0, votes + xp.astype(columns < winner, votes.dtype))
    lead = xp.take_along_axis(votes, winner, axis=1)[:, 0] - xp.max(rivals, axis=1)
    bearable = lead // 2
    if spare is None:
        return bearable
    rows = xp.arange(1, spare.size + 1, dtype=lead.dtype)
    full = xp.sum(spare[:, None] < rows[None, :], axis=0, dtype=lead.dtype)
    return xp.sum((rows + full)[:, None] <= bearable[None, :], axis=0, dtype=lead.dtype)
