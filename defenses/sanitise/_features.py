"""Sanitisers that look at the features of a model of the suspect rows: train, inspect, drop, train
again.
"""

import abc
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from bilevel import Data
from bilevel.learners import AbstractLearner, AbstractModel
from bilevel.tools import concrete, require_weights, stop_gradient

from ._inspection import Inspection, reweighed
from ._sanitiser import AbstractHardSanitiser, mask_of

FEWEST = 4
"""Rows that every class must have."""
TOGETHER = 4096
"""Rows whose features are computed at once: the layers before take a hundred times their memory."""


class Featured(NamedTuple):
    """Rows as a model trained on them sees them.

    - `features` (n, f): inputs of its last layer. `group` (n,): the labels, as numbers.
    - `used` (n,): rows of weight > 0. `classes` (c,): the labels that there may be.
    - `model`, `data`, `key`: the model, the rows themselves, and a key of further trainings.
    """

    features: Float[Array, "n f"]
    group: Float[Array, " n"]
    used: Bool[Array, " n"]
    classes: Float[Array, " c"]
    model: AbstractModel
    data: Data
    key: PRNGKeyArray | None

    def members(self) -> Bool[Array, "c n"]:
        """The rows of each class."""
        return self.used[None, :] & (self.group[None, :] == self.classes[:, None])


class Judged(NamedTuple):
    """Which rows are suspect (n,), the score of each, larger is worse, and what else was trained
    for it: how often, with which worst code.
    """

    suspect: Bool[Array, " n"]
    score: Float[Array, " n"]
    trainings: int = 0
    result: Array | int = 0


class AbstractFeatureSanitiser(AbstractHardSanitiser):
    """Trains `learner` on the rows, judges them by the features of that model, and drops those that
    are suspect; the training on the others starts afresh, with the same key. A class of which all
    rows are suspect keeps them: without it there is no model of all classes.

    With `Fixed(model)` as the learner it judges rows by the features of a given model, and
    `inspect` is all there is to it. Classes are -1 and +1 of a model with one output, else
    0, 1, ... of its outputs.
    """

    learner: eqx.AbstractVar[AbstractLearner]

    @abc.abstractmethod
    def judge(self, rows: Featured) -> Judged:
        """Which rows are suspect. Pure, of static shapes."""

    def check(self, data):
        require_weights(data)
        self.learner.check(data)
        if concrete(data.y) and concrete(data.weight):
            labels = np.asarray(data.y)[np.asarray(data.weight) > 0]
            found, sizes = np.unique(labels, return_counts=True)
            if len(found) < 2:
                raise ValueError(
                    f"y: got rows of the class {found[0]:g} alone, expected two classes at least; "
                    "features of one class show nothing to compare"
                )
            if np.min(sizes) < FEWEST:
                raise ValueError(
                    f"y: got {np.min(sizes)} rows of the class {found[np.argmin(sizes)]:g}, "
                    f"expected {FEWEST} at least, to tell two kinds of rows apart; leave the "
                    "class out, or collect more rows"
                )

    @eqx.filter_jit
    def inspect(self, data, *, key=None):
        still, given = stop_gradient((self, data))
        other = None if key is None else jax.random.fold_in(key, 3)
        fitted = still.learner.fit(given, key=key, throw=False)
        x = _features(fitted.model, given.x)
        shape = jax.eval_shape(fitted.model.decision, given.x).shape
        classes = jnp.arange(shape[1]) if len(shape) == 2 else jnp.array([-1, 1])
        rows = Featured(
            x.reshape(data.rows, -1), given.targets(), given.weight > 0,
            classes.astype(given.targets().dtype), fitted.model, given, other,
        )  # fmt: skip
        seen = still.judge(rows)
        members = rows.members()
        lost = jnp.all(seen.suspect[None, :] | ~members, axis=1)
        spared = jnp.any(members & lost[:, None], axis=0)
        keep = rows.used & (~seen.suspect | spared)
        return Inspection(
            reweighed(data, mask_of(keep, data.weight)),
            seen.score,
            jnp.int32(1 + seen.trainings),
            jnp.maximum(fitted.result, jnp.asarray(seen.result, jnp.int32)),
            group=rows.group,
            spared=spared & seen.suspect,
        )


def _features(model: AbstractModel, x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
    """The features of rows, block by block if there are many."""
    blocks = -(-len(x) // TOGETHER)
    if blocks == 1:
        return model.features(x)
    more = ((0, blocks * TOGETHER - len(x)), *[(0, 0)] * (x.ndim - 1))
    found = jax.lax.map(model.features, jnp.pad(x, more).reshape(blocks, TOGETHER, *x.shape[1:]))
    return found.reshape(-1, *found.shape[2:])[: len(x)]


def centred(rows: Featured, inside: Bool[Array, " n"]) -> Float[Array, "n f"]:
    """Features less their mean over the rows of a mask, zero elsewhere."""
    many = count(inside, rows.features)
    x = jnp.where(inside[:, None], rows.features, 0)
    return jnp.where(inside[:, None], x - (jnp.sum(x, axis=0) / many)[None, :], 0)


def count(mask: Bool[Array, " n"], like: Array) -> Float[Array, ""]:
    """How many rows a mask holds, one at least, in the precision of other numbers."""
    return jnp.maximum(jnp.sum(mask, dtype=like.dtype), 1)


def principal(x: Float[Array, "n f"], most: int) -> tuple[Float[Array, "f k"], Float[Array, " k"]]:
    """The first directions of most variance of centred rows, and their variances times n."""
    values, vectors = jnp.linalg.eigh(x.T @ x)
    return vectors[:, ::-1][:, :most], values[::-1][:most]
