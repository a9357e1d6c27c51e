"""Confident learning (Northcutt, Jiang & Chuang, "Confident learning: estimating uncertainty in
dataset labels", JAIR 2021): prune the rows whose labels models that did not see them contradict.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from bilevel import batch
from bilevel.learners import AbstractLearner
from bilevel.losses import CrossEntropy
from bilevel.tools import concrete, require_classes, require_count, require_weights, stop_gradient

from .._arguments import balance_argument
from .._hash import row_hash
from ..ensemble._parts import split
from ._inspection import Inspection, gaps_by, quota_gaps, reweighed
from ._quotas import BALANCE, Quota, by_quota
from ._sanitiser import AbstractHardSanitiser, mask_of
from ._selection import first_lowest
from ._sets import groups_of


class ConfidentLearning(AbstractHardSanitiser):
    """Drop the rows of each class that are most probably of another, as many as the confident joint
    counts.

    Probabilities are those of `folds` models, each trained without the rows that it judges: of
    logistic and softmax regression as they are, of other learners the sigmoid of the decision. A
    class's threshold is its mean probability over the rows labelled so. A row counts as the most
    probable class among those whose threshold it reaches. Of the rows labelled i as many as count
    as j, scaled to the size of class i, are dropped, those of largest p_j - p_i (the paper's
    pruning by noise rate). The score is the largest p_j - p_i.

    - `balance`: each class keeps this part, at least, of the share that the others together keep.

    Labels are -1 and +1, or class numbers of a learner with the cross-entropy. Rows count alike,
    whatever their weights > 0. Stops flips, of one class too, while most labels are right; poison
    that fits its label passes.
    """

    learner: AbstractLearner
    folds: int
    seed: int
    balance: float

    def __init__(
        self, learner: AbstractLearner, folds: int = 5, seed: int = 0, balance: float = BALANCE
    ):
        self.learner, self.folds, self.seed = learner, require_count("folds", folds, 2), seed
        self.balance = balance_argument(balance)

    def check(self, data):
        require_weights(data)
        self.learner.check(data)
        if not isinstance(self.learner.loss, CrossEntropy):
            require_classes(data)
        used = int(np.sum(np.asarray(data.weight) > 0)) if concrete(data.weight) else data.rows
        if used < self.folds:
            raise ValueError(
                f"folds: got {self.folds} for {used} rows of weight > 0, expected no more than rows"
            )

    def prepare(self, data):
        """Itself: the folds do not begin with the rows that a learner would keep."""
        del data
        return self

    @eqx.filter_jit
    def inspect(self, data, *, key=None):
        given, learner = stop_gradient((data, self.learner))
        y, used = given.targets(), given.weight > 0
        place = folds_of(row_hash(given.x, given.y, self.seed), y, used, self.folds)

        def of_fold(number: Int[Array, ""], key) -> tuple[Array, Array]:
            others = reweighed(given, mask_of(place != number, given.weight))
            fitted = learner.fit(others, key=key, throw=False)
            return probabilities(fitted.model.decision(given.x)), fitted.result

        numbers = jnp.arange(self.folds, dtype=jnp.int32)
        shares, codes = batch(of_fold)(numbers, split(key, self.folds))
        p = jnp.take_along_axis(shares, place[None, :, None], axis=0)[0]
        own = one_hot_of(y, p.shape[1])
        doubted, score = off_diagonal(p, own, used, row_hash(given.x, given.y))
        sure = used & ~doubted
        keep = by_quota(score, sure, used, y, self.balance)
        margin = quota_gaps(_distances(p, own, used, y, sure), score, sure, keep, used, y)
        kept = reweighed(data, mask_of(keep, data.weight))
        return Inspection(kept, score, jnp.int32(self.folds), jnp.max(codes), margin, group=y)


def probabilities(f: Array) -> Float[Array, "n k"]:
    """Of each class, by decisions f (n,) or (n, k)."""
    if f.ndim == 2:
        return jax.nn.softmax(f, axis=1)
    return jnp.stack([jax.nn.sigmoid(-f), jax.nn.sigmoid(f)], axis=1)


def one_hot_of(y: Float[Array, " n"], classes: int) -> Float[Array, "n k"]:
    """Class numbers, or labels -1 and +1 of two classes, as columns."""
    number = jnp.where(jnp.any(y < 0), (y + 1) / 2, y)
    return (number[:, None] == jnp.arange(classes, dtype=y.dtype)[None, :]).astype(y.dtype)


def folds_of(hashes: Any, group: Any, used: Any, folds: int) -> Any:
    """The fold of each row (n,): those of a class are dealt in the order of their hashes, equal
    ones to the same fold. NumPy's and JAX's arrays alike.
    """
    xp = hashes.__array_namespace__()
    place = xp.argsort(xp.lexsort((hashes, group, ~used)), stable=True)
    first = xp.lexsort((~used, hashes))[groups_of(hashes)]  # of the rows that are equal
    return xp.astype(place[first], xp.int32) % folds


def off_diagonal(p: Any, own: Any, used: Any, tie: Any) -> tuple[Any, Any]:
    """(rows that the confident joint prunes, a mask (n,); the largest p_j - p_i of each).

    - `p` (n, k): probabilities of the classes. `own` (n, k): one-hot, the class of the label.
    - `used` (n,): the rows that count. `tie` (n,): which of equal rows goes first.

    NumPy's and JAX's arrays alike.
    """
    xp = p.__array_namespace__()
    own = own * xp.astype(used, p.dtype)[:, None]
    size = xp.sum(own, axis=0)
    threshold = xp.sum(own * p, axis=0) / xp.where(size > 0, size, xp.ones_like(size))
    reached = p >= threshold[None, :] - 64 * xp.finfo(p.dtype).eps
    best = xp.argmax(xp.where(reached, p, xp.full_like(p, -1)), axis=1)
    classes = xp.arange(p.shape[1])
    counts = xp.astype(best[:, None] == classes[None, :], p.dtype)
    counts = counts * xp.astype(xp.any(reached, axis=1), p.dtype)[:, None]
    joint = own.T @ counts
    total = xp.sum(joint, axis=1)
    scale = size / xp.where(total > 0, total, xp.ones_like(total))
    many = xp.astype(xp.round(joint * scale[:, None] - 1e-9), xp.int32)
    label, of_label = xp.argmax(own, axis=1), xp.sum(own * p, axis=1)
    group = xp.astype(label, p.dtype)
    pruned = xp.zeros_like(used)
    for rival in range(p.shape[1]):
        quota = Quota(xp.where(label == rival, 0, many[label, rival]), group)
        pruned = pruned | first_lowest(of_label - p[:, rival], used, tie, quota)
    others = xp.where(own > 0, xp.full_like(p, -1), p)
    return pruned, xp.max(others, axis=1) - of_label


def _distances(
    p: Float[Array, "n k"],
    own: Float[Array, "n k"],
    used: Bool[Array, " n"],
    y: Float[Array, " n"],
    sure: Bool[Array, " n"],
) -> Float[Array, " n"]:
    """How far each row is from where it would count as another class, or be ranked over a cut."""
    size = jnp.maximum(jnp.sum(own * used[:, None].astype(p.dtype), axis=0), 1)
    threshold = jnp.sum(own * p * used[:, None].astype(p.dtype), axis=0) / size
    to_threshold = jnp.min(jnp.abs(p - threshold[None, :]), axis=1)
    top = jnp.sort(p, axis=1)
    of_label = jnp.sum(own * p, axis=1)
    distance = jnp.minimum(to_threshold, top[:, -1] - top[:, -2])
    for rival in range(p.shape[1]):
        others = used & (own[:, rival] == 0)
        distance = jnp.minimum(distance, gaps_by(p[:, rival] - of_label, sure, others, y))
    return distance
