"""Label sanitisation by nearest neighbours (Paudice, Munoz-Gonzalez & Lupu, "Label sanitization
against label flipping poisoning attacks", 2018, algorithm 2).
"""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from bilevel import Data
from bilevel.learners import AbstractLearner
from bilevel.tools import stop_gradient

from ._defense import AbstractDefense, Inspection
from .scores.neighbours import squared_distances


class AbstractRelabel(AbstractDefense):
    """A vote of the nearest rows on every label, all labels being read before any is changed."""

    learner: eqx.AbstractVar[AbstractLearner]
    k: eqx.AbstractVar[int]
    agreement: eqx.AbstractVar[float]
    tie: eqx.AbstractVar[float]

    def __check_init__(self):
        if isinstance(self.k, bool) or not isinstance(self.k, int) or self.k < 1:
            raise ValueError(f"k: got {self.k!r}, expected a number of neighbours >= 1")
        if not 0.5 <= self.agreement <= 1:
            raise ValueError(
                f"agreement: got {self.agreement}, expected a share of the votes from .5 to 1"
            )
        if self.tie not in (-1, 0, 1):
            raise ValueError(
                f"tie: got {self.tie}, expected -1 or +1, or 0 for the label that a row has"
            )

    def prepare(self, data):
        """Itself: a learner that keeps labels would keep those from before the vote."""
        del data
        return self

    def lead(self, data: Data) -> Float[Array, " n"]:
        """Share of the votes for +1, less that for -1."""
        x, weight = stop_gradient((data.x, data.weight))
        near = nearest(x, weight, self.k).astype(x.dtype)
        votes = jnp.maximum(near @ data.weight, jnp.finfo(x.dtype).tiny)
        return near @ (data.weight * data.y) / votes

    def at_tie(self, data: Data) -> Float[Array, " n"]:
        return jnp.full_like(data.y, self.tie) if self.tie else data.y


class Relabel(AbstractRelabel):
    """A row takes the label of most of its `k` nearest other rows, if enough of them agree.

    - `k`: how many neighbours vote (10 as published), by Euclidean distance; to be exact, the
      nearest that weigh k together, and all that are as far as the last. Votes weigh what rows do.
    - `agreement`: the least share of the votes that the commonest label needs (.5, as published,
      is always enough).
    - `tie`: the label that wins an even vote, -1 or +1; 0 for the label that a row has.

    Labels are -1 and +1. The vote carries no derivative: attack by retraining (`flip_greedy`), or
    through `SoftRelabel`, for most votes answer to no single flip. The score is the share of votes
    against a row's label.

    Stops flips scattered among rows of their class. Flips that crowd outvote their neighbours, and
    of clean rows those near the boundary are relabelled.
    """

    learner: AbstractLearner
    k: int = eqx.field(static=True)
    agreement: float = eqx.field(static=True)
    tie: float = eqx.field(static=True)

    def __init__(self, learner: AbstractLearner, k=10, agreement=0.5, tie=0.0):
        self.learner, self.k, self.agreement, self.tie = learner, k, agreement, tie

    def inspect(self, data: Data) -> Inspection:
        lead = lax.stop_gradient(self.lead(data))
        enough = 0.5 + 0.5 * jnp.abs(lead) >= self.agreement - 1e-6
        winner = jnp.where(jnp.abs(lead) > 1e-6, jnp.sign(lead), self.at_tie(data))
        labels = jnp.where(enough, winner, data.y)
        against = 0.5 - 0.5 * data.y * lead
        return Inspection(Data(data.x, labels, data.weight), against, jnp.int32(0))


class SoftRelabel(AbstractRelabel):
    """The attacker's smooth surrogate of `Relabel`: score what it finds with `Relabel` itself.

    A row has the label that wins its vote and counts by the lead of it: |share of the votes for +1
    less that for -1|. So flips that bring a vote nearer to tipping matter one by one, and votes
    have a derivative in the weights and labels of the voters. To the lead are added the `agreement`
    demanded, for the label that a row has, and half a vote for the label that wins a tie.
    """

    learner: AbstractLearner
    k: int = eqx.field(static=True)
    agreement: float = eqx.field(static=True)
    tie: float = eqx.field(static=True)

    def __init__(self, learner: AbstractLearner, k=10, agreement=0.5, tie=0.0):
        self.learner, self.k, self.agreement, self.tie = learner, k, agreement, tie

    def inspect(self, data: Data) -> Inspection:
        lead = self.lead(data)
        balance = lead + (2 * self.agreement - 1) * data.y + 0.5 / self.k * self.at_tie(data)
        labels = jnp.where(balance < 0, -1, 1).astype(data.y.dtype)
        against = 0.5 - 0.5 * data.y * lead
        weight = data.weight * jnp.abs(balance)
        return Inspection(Data(data.x, labels, weight), against, jnp.int32(0))


def nearest(x: Float[Array, "n d"], weight: Float[Array, " n"], k: int) -> Bool[Array, "n n"]:
    """Which others are no further from a row than the nearest that weigh k together."""
    apart = squared_distances(x)
    order = jnp.argsort(apart, axis=1)
    heavy = jnp.cumsum(weight[order], axis=1) >= k * (1 - 1e-6)
    last = jnp.where(jnp.any(heavy, axis=1), jnp.argmax(heavy, axis=1), x.shape[0] - 2)
    radius = jnp.take_along_axis(apart, order, axis=1)[jnp.arange(x.shape[0]), last]
    # Distances that differ by rounding are equal: no order of the rows may decide.
    square = jnp.sum((x - jnp.mean(x, axis=0)[None, :]) ** 2, axis=1)
    rounding = 32 * jnp.finfo(x.dtype).eps * (square[:, None] + square[None, :])
    return (apart <= radius[:, None] + rounding) & jnp.isfinite(apart)
