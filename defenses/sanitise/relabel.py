"""Label sanitisation by nearest neighbours (Paudice, Munoz-Gonzalez & Lupu, "Label sanitization
against label flipping poisoning attacks", 2018, algorithm 2).
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from bilevel import Data
from bilevel.learners import AbstractLearner
from bilevel.tools import require_classes, require_count, stop_gradient

from .._arguments import agreement_argument, balance_argument
from .._defense import softened
from ._inspection import Inspection, quota_gaps
from ._quotas import by_quota
from ._sanitiser import AbstractHardSanitiser
from ._votes import elected, shares
from .soft_relabel import AGREEMENT, UNTURNED, SoftRelabel, tie_argument


class Relabel(AbstractHardSanitiser):
    """A row takes the label of most of its `k` nearest other rows, if enough of them agree.

    - `k`: how many neighbours vote (10 as published), by Euclidean distance; to be exact, the
      nearest that weigh k together, and all that are as far as the last. Votes weigh what rows do.
    - `agreement`: the least share of the votes that the commonest label needs (.5, as published,
      is always enough, and turns clean rows near the boundary round).
    - `tie`: the label that wins an even vote, -1 or +1; 0 for the label that a row has.
    - `balance`: of each class the rows with the fewest votes against them keep their label in any
      case: this part of the share of the other classes that does (0, as published, none).

    All labels are read before any is changed. Labels are -1 and +1. The vote carries no derivative:
    attack by retraining (`flip_greedy`), or through `SoftRelabel`, as few votes change with a
    single flip. The score is the share of votes against a row's label.

    Stops flips scattered among rows of their class. Flips that crowd outvote their neighbours, and
    of clean rows those near the boundary are relabelled.
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

    def surrogate(self, data):
        """`SoftRelabel` around the same learner."""
        learner = softened(self.learner, data)
        return SoftRelabel(learner, self.k, self.agreement, self.tie, self.balance)

    def pinned(self, training):
        """As other sanitisers, but no row is dropped, whatever its weight."""
        settled = super().pinned(training)
        return eqx.tree_at(lambda s: s.keep, settled, jnp.ones_like(settled.keep))

    @eqx.filter_jit
    def inspect(self, data, *, key=None):
        del key  # nothing is trained
        given = stop_gradient(data)
        y = given.targets()
        x = given.x.reshape(data.rows, -1)
        share = shares(x, given.weight, self.k, one_hot(y))
        tie = jnp.full_like(y, self.tie) if self.tie else y
        positive, enough = elected(share, one_hot(tie), self.agreement)
        lead = share[:, 1] - share[:, 0]
        decided = enough & ((jnp.abs(lead) > 1e-6) | (self.tie != 0))
        winner = jnp.where(positive == 1, 1, -1).astype(data.y.dtype)
        against, used = 0.5 - 0.5 * y * lead, given.weight > 0
        agreed = used & ~(decided & (winner != data.y))
        stays = by_quota(against, agreed, used, y, self.balance)
        decided = decided & (agreed | ~stays)
        labels = jnp.where(decided, winner, data.y)
        # A label changes where the vote turns, and where it becomes sure enough.
        sure = jnp.abs(0.5 + 0.5 * jnp.abs(lead) - self.agreement)
        margin = (
            jnp.minimum(0.5 * jnp.abs(lead), sure) if self.agreement > 0.5 else 0.5 * jnp.abs(lead)
        )
        margin = quota_gaps(margin, against, agreed, stays, used, y)
        seen = Data(data.x, labels, data.weight)
        return Inspection(seen, against, jnp.int32(0), margin=margin, decided=decided, group=y)


def one_hot(y: Float[Array, " n"]) -> Float[Array, "n 2"]:
    """Labels -1 and +1 as columns."""
    return jnp.stack([y < 0, y > 0], axis=1).astype(y.dtype)
