"""Outlier filters: rows far from where their class lies are dropped before training.

Steinhardt, Koh & Liang, "Certified defenses for data poisoning attacks", NeurIPS 2017; Koh,
Steinhardt & Liang, "Stronger data poisoning attacks break data sanitization defenses", 2018.
"""

import abc

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt

from bilevel import Data
from bilevel.learners import AbstractLearner
from bilevel.tools import concrete, stop_gradient

from ._arguments import positive_argument, share_argument
from ._defense import AbstractDefense, Inspection, gaps, reweighed
from ._hash import row_hash
from ._selection import kept_count, level, lowest, mask_of, soft_lowest
from .scores import AbstractScore

CLASSES = (-1.0, 1.0)


class AbstractFilter(AbstractDefense):
    """Scores rows within each of `classes`, or all together if that is empty (regression)."""

    learner: eqx.AbstractVar[AbstractLearner]
    score: eqx.AbstractVar[AbstractScore]
    contamination: eqx.AbstractVar[float]
    classes: eqx.AbstractVar[tuple[float, ...]]

    @abc.abstractmethod
    def shares(
        self, score: Float[Array, " n"], weight: Float[Array, " n"], tie: UInt[Array, " n"]
    ) -> Float[Array, " n"]:
        """How much of each row of positive weight is kept, by their scores."""

    def check(self, data: Data) -> None:
        if self.classes and concrete(data.y):
            wrong = np.setdiff1d(np.asarray(data.y), self.classes)
            if wrong.size:
                raise ValueError(
                    f"classes: got {self.classes}, but a row has the label {wrong[0]:g}; name all "
                    "labels, or none, classes=(), for a regression"
                )
        self.learner.check(data)

    def inspect(self, data: Data) -> Inspection:
        keep, scores = jnp.zeros_like(data.y), jnp.zeros_like(data.y)
        tie = row_hash(data.x, data.y)
        for label in self.classes or (None,):
            inside = jnp.ones_like(data.y, bool) if label is None else data.y == label
            own = jnp.where(inside, data.weight, 0)
            score = self.score(data.x, own, data.weight - own)
            keep = jnp.where(inside, self.shares(score, own, tie), keep)
            scores = jnp.where(inside, score, scores)
        return Inspection(reweighed(data, keep), scores, jnp.int32(0))


class Filter(AbstractFilter):
    """Drops, of each class, the share `contamination` of highest score.

    - `score`: `scores.Distance()`, `Slab()`, `Residual()`, `Neighbours()`.
    - `classes`: the labels; empty for regression, where all rows are one class.

    Rows kept carry the derivative of the defended learner; which are kept has none, see
    `SoftFilter`. Stops points far from their class; optimised poison inside it passes.
    """

    learner: AbstractLearner
    score: AbstractScore
    contamination: float
    classes: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, learner, score, contamination=0.05, classes=CLASSES):
        self.learner, self.score, self.classes = learner, score, tuple(classes)
        self.contamination = share_argument("contamination", contamination)

    def inspect(self, data):
        found = super().inspect(stop_gradient(data))
        keep = mask_of(found.kept, data.weight)
        return eqx.tree_at(lambda f: f.data, found, reweighed(data, keep))

    def kinks(self, data: Data) -> Float[Array, " k"]:
        """How far each row's score is from the threshold of its class, and those of the learner."""
        found = self.inspect(data)
        own = jnp.full_like(data.y, jnp.inf)
        for label in self.classes or (None,):
            inside = jnp.ones_like(data.y, bool) if label is None else data.y == label
            apart = gaps(found.score, found.kept, inside & (data.weight > 0))
            own = jnp.where(inside, apart, own)
        return jnp.concatenate([own, self.learner.kinks(found.data)])

    def shares(self, score, weight, tie):
        used = weight > 0
        keep = lowest(level(score), used, kept_count(used, self.contamination), tie)
        return keep.astype(score.dtype)


class SoftFilter(AbstractFilter):
    """The attacker's smooth surrogate of `Filter`: rows keep a share 1 / (1 + (score /
    threshold)^sharpness), so that the derivative sees a row being thrown out.
    """

    learner: AbstractLearner
    score: AbstractScore
    contamination: float
    sharpness: float
    classes: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, learner, score, contamination=0.05, sharpness=8.0, classes=CLASSES):
        self.learner, self.score, self.classes = learner, score, tuple(classes)
        self.contamination = share_argument("contamination", contamination)
        self.sharpness = positive_argument("sharpness", sharpness)

    def shares(self, score, weight, tie):
        used = (weight > 0).astype(score.dtype)
        count = (1 - self.contamination) * jnp.sum(used)
        return soft_lowest(score, used, count, self.sharpness)
