"""Smooth label sanitisation: a row counts by the lead of the label that its neighbours elect."""

import equinox as eqx
import jax.numpy as jnp

from bilevel import Data
from bilevel.learners import AbstractLearner
from bilevel.tools import require_classes, require_count, stop_gradient

from .._arguments import agreement_argument, balance_argument
from ._inspection import Inspection
from ._quotas import floor_scores
from ._sanitiser import AbstractSoftSanitiser
from ._votes import tallies

AGREEMENT = 0.9
"""The least share of the votes that changes a label, by default: at .5, as published, clean tables
lose up to 2 points of accuracy, at .9 none more than .5.
"""

UNTURNED = 0.9
"""The quota of a class, by default: a label that is turned round does harm twice."""


class SoftRelabel(AbstractSoftSanitiser):
    """The attacker's smooth surrogate of `Relabel`: score what it finds with `Relabel` itself.

    A row has the label that wins its vote and counts by the lead of it: |share of the votes for +1
    less that for -1|. So flips that bring a vote nearer to tipping matter one by one, and votes
    have a derivative in the weights and labels of the voters. To the lead are added the `agreement`
    demanded, or where a class has a quota what `Relabel` demands of its rows, for the label that a
    row has, and half a vote for the label that wins a tie.
    """

    learner: AbstractLearner
    k: int = eqx.field(static=True)
    agreement: float = eqx.field(static=True)
    tie: float = eqx.field(static=True)
    balance: float = eqx.field(static=True)

    def __init__(
        self,
        learner: AbstractLearner,
        k: int = 10,
        agreement: float = AGREEMENT,
        tie: float = 0.0,
        balance: float = UNTURNED,
    ):
        self.learner, self.k = learner, require_count("k", k)
        self.agreement, self.tie = agreement_argument(agreement), tie_argument(tie)
        self.balance = balance_argument(balance)

    def check(self, data):
        require_classes(data)
        super().check(data)

    def prepare(self, data):
        """Itself: a learner that keeps labels would keep those from before the vote."""
        del data
        return self

    @eqx.filter_jit
    def inspect(self, data, *, key=None):
        del key  # nothing is trained
        x, weight = stop_gradient((data.x.reshape(data.rows, -1), data.weight))
        y = data.targets()
        ballots = jnp.stack([data.weight, data.weight * y], axis=1)
        votes, lead = tallies(x, weight, self.k, ballots).T
        lead = lead / jnp.maximum(votes, jnp.finfo(weight.dtype).tiny)
        at_tie = jnp.full_like(y, self.tie) if self.tie else y
        demanded = max(2 * self.agreement - 1, 0)  # half of the votes are always there
        against, group = 0.5 - 0.5 * y * lead, stop_gradient(jnp.sign(y))
        used = weight > 0
        agreed = used & (against <= 0.5 + 0.5 * demanded)
        floor = floor_scores(against, agreed, used, group, self.balance)
        demanded = jnp.maximum(demanded, 2 * floor - 1)
        balance = lead + demanded * y + 0.5 / self.k * at_tie
        labels = jnp.where(balance < 0, -1, 1).astype(data.y.dtype)
        seen = Data(data.x, labels, data.weight * jnp.abs(balance))
        return Inspection(seen, against, jnp.int32(0), group=group)


def tie_argument(tie: float) -> float:
    """The value; ValueError unless -1, 0 or +1."""
    if tie not in (-1, 0, 1):
        raise ValueError(f"tie: got {tie}, expected -1 or +1, or 0 for the label that a row has")
    return tie
