"""The contract of sanitisers: learners that look at their data before they train."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree, Shaped

from bilevel import Data, Point
from bilevel.learners import AbstractLearner, Training
from bilevel.tools import worst

from .._defense import AbstractDefense
from ._inspection import Inspection, reweighed


class AbstractSanitiser(AbstractDefense):
    """A learner that trains another one on what it makes of the data."""

    learner: eqx.AbstractVar[AbstractLearner]

    @abc.abstractmethod
    def inspect(self, data: Data, *, key: PRNGKeyArray | None = None) -> Inspection:
        """The rows as the learner is to see them.

        A pure function, which depends on no order of the rows. It raises nothing on a failed
        training: `Inspection.result` is the worst code of them.

        - `key`: randomness of the trainings made for it, that of the training itself.
        """

    def training(self, data, *, key=None):
        return self.trained_on(self.inspect(data, key=key), key)

    def trained_on(
        self, seen: Inspection, key: PRNGKeyArray | None, point: Point | None = None
    ) -> Training:
        """The learner's training on the rows as inspected.

        - `point`: where its problem has been solved by the inspection, if it has.
        """
        inner = self.learner.training(seen.data, key=key)
        seen = Inspection(
            seen.data, seen.score, seen.trainings, seen.result, seen.margin, seen.decided,
            inner.report, seen.group,
        )  # fmt: skip
        return Training(
            data=inner.data,
            problem=inner.problem,
            make_model=inner.make_model,
            make_kinks=eqx.Partial(_kinks, seen.margin, inner),
            make_support=inner.make_support,
            result=worst(seen.result, inner.result),
            report=seen,
            point=inner.point if point is None else point,
            inner=inner,
        )


def _kinks(margin: Array | None, inner: Training, value: PyTree) -> Array:
    kinks = inner.kinks(value)
    return kinks if margin is None else jnp.concatenate([margin.astype(kinks.dtype), kinks])


class AbstractHardSanitiser(AbstractSanitiser):
    """A sanitiser that keeps a row or drops it, or sets its label: choices without derivative.

    What is kept carries the derivative of the learner. `pinned` makes the choices once.
    """

    learner: eqx.AbstractVar[AbstractLearner]

    def pinned(self, training):
        seen, inner = training.report, training.inner
        labels = None if seen.decided is None else seen.data.y
        learner = self.learner if inner is None else self.learner.pinned(inner)
        return Settled(learner, seen.kept, labels, seen)


class Settled(AbstractSanitiser):
    """A hard sanitiser whose choices are made: it drops the same rows whatever they are.

    - `keep` (n,): the rows that count. `labels` (n,): those of `seen.decided`, None for none.
    - `seen`: the inspection in which the choices were made.
    """

    learner: AbstractLearner
    keep: Bool[Array, " n"]
    labels: Shaped[Array, " n"] | None
    seen: Inspection

    def inspect(self, data, *, key=None):
        del key
        data = reweighed(data, mask_of(self.keep, data.weight))
        if self.labels is not None and self.seen.decided is not None:
            labels = jnp.where(self.seen.decided, self.labels, data.y)
            data = eqx.tree_at(lambda d: d.y, data, labels)
        return eqx.tree_at(lambda seen: seen.data, self.seen, data)


class AbstractSoftSanitiser(AbstractSanitiser):
    """A smooth surrogate of a hard sanitiser, for an attacker who knows of it.

    It is differentiable in all rows, so it has no choices to pin. Those of a defense that its
    learner has inside are pinned for the last training alone: the inspection may train it on other
    rows.
    """

    learner: eqx.AbstractVar[AbstractLearner]

    def pinned(self, training):
        inner = training.inner
        pinned = self.learner if inner is None else self.learner.pinned(inner)
        return self if pinned is self.learner else Staged(pinned, self)


class Staged(AbstractSanitiser):
    """Inspects as `defense` does, and trains `learner`, what the defense wraps with its choices
    made.
    """

    learner: AbstractLearner
    defense: AbstractSanitiser

    def inspect(self, data, *, key=None):
        return self.defense.inspect(data, key=key)


def mask_of(keep: Bool[Array, " n"], like: Float[Array, " n"]) -> Float[Array, " n"]:
    """A mask as numbers of the dtype of `like`."""
    return keep.astype(like.dtype)
