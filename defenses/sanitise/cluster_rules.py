"""Which of two clusters is poison: the rules of Chen et al. (2018), one object each."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool

from bilevel import Data
from bilevel.learners import AbstractLearner

from .._arguments import positive_argument, share_argument
from ._clusters import Clusters
from ._features import Featured
from ._inspection import reweighed


class AbstractClusterRule(eqx.Module):
    """Of each class, whether the smaller of its two clusters is poison."""

    trainings = 0
    """How often it trains the learner."""

    @abc.abstractmethod
    def suspicious(
        self, found: Clusters, rows: Featured, learner: AbstractLearner
    ) -> tuple[Bool[Array, " c"], Array | int]:
        """The verdict (c,), and the worst code of the trainings made for it."""


class SmallCluster(AbstractClusterRule):
    """It holds less than the share `below` of its class: .35 as published, for up to a third of
    poison in a class. Clean classes split into halves.
    """

    below: float

    def __init__(self, below: float = 0.35):
        self.below = share_argument("below", below)

    def suspicious(self, found, rows, learner):
        return found.share() < self.below, 0


class Silhouette(AbstractClusterRule):
    """The two fit their class well: mean silhouette above `above` (.1 as published: "between .10
    and .15"). Says that a class has two kinds of rows, and takes the smaller one for poison.
    """

    above: float

    def __init__(self, above: float = 0.1):
        self.above = positive_argument("above", above)

    def suspicious(self, found, rows, learner):
        return found.silhouette() > self.above, 0


class NearOther(AbstractClusterRule):
    """Its mean feature is nearer to the larger cluster of another class than to that of its own."""

    def suspicious(self, found, rows, learner):
        small, large = (_means(rows.features, mask) for mask in (found.small, found.large))
        apart = jnp.linalg.norm(small[:, None] - large[None], axis=-1)
        empty = ~jnp.any(found.large, axis=1)
        apart = jnp.where(empty[None, :], jnp.inf, apart)
        own = jnp.diagonal(apart)
        others = jnp.where(jnp.eye(len(own), dtype=bool), jnp.inf, apart)
        return (jnp.min(others, axis=1) < own) & jnp.any(found.small, axis=1), 0


class Excluded(AbstractClusterRule):
    """A model trained without the smaller clusters reads its rows as their label less than
    `ratio` times as often as it reads them as the one other class that it reads most of them as
    (1 as published: "exclusionary reclassification"). Costs a training.
    """

    ratio: float
    trainings = 1

    def __init__(self, ratio: float = 1.0):
        self.ratio = positive_argument("ratio", ratio)

    def suspicious(self, found, rows, learner):
        rest = reweighed(rows.data, ~jnp.any(found.small, axis=0))
        fitted = learner.fit(_kept(rest, rows), key=rows.key, throw=False)
        read = fitted.model.predict(rows.data.x).astype(rows.classes.dtype)
        as_class = read[None, :] == rows.classes[:, None]
        counts = jnp.sum(found.small[:, None, :] & as_class[None], axis=-1)
        own = jnp.diagonal(counts)
        others = jnp.max(jnp.where(jnp.eye(len(own), dtype=bool), 0, counts), axis=1)
        return own.astype(float) < self.ratio * others.astype(float), fitted.result


def _kept(rest: Data, rows: Featured) -> Data:
    """The rest, or all rows if a class would have none."""
    members = rows.members()
    kept = jnp.any(members & (rest.weight > 0)[None, :], axis=1)
    whole = jnp.all(kept | ~jnp.any(members, axis=1))
    weight = jnp.where(whole, rest.weight, rows.data.weight)
    return eqx.tree_at(lambda data: data.weight, rest, weight)


def _means(x, masks):
    shares = masks.astype(x.dtype)
    return shares @ x / jnp.maximum(jnp.sum(shares, axis=1, keepdims=True), 1)
