"""The defenses of the arena, each with what an attacker that knows it differentiates."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import defenses
from bilevel.learners import AbstractLearner
from defenses import AbstractDefense, scores

Wrap = Callable[[AbstractLearner, float], AbstractDefense]


class Entry(NamedTuple):
    """A defense, and what the attacker that knows it differentiates in its place."""

    hard: Wrap
    surrogate: Wrap


def entry(hard: Wrap, surrogate: Wrap | None = None) -> Entry:
    """One without a surrogate stands for itself."""
    return Entry(hard, hard if surrogate is None else surrogate)


def filtered(score: scores.AbstractScore) -> Entry:
    """The filter by this score."""
    return entry(
        lambda learner, share: defenses.Filter(learner, score, share),
        lambda learner, share: defenses.SoftFilter(learner, score, share),
    )


DEFENSES = {
    "filter": filtered(scores.Distance()),
    "slab": filtered(scores.Slab()),
    "neighbours": filtered(scores.Neighbours()),
    "residual": filtered(scores.Residual()),
    "trim": entry(defenses.Trim, defenses.SoftTrim),
    "sever": entry(defenses.Sever, defenses.SoftSever),
    "relabel": entry(
        lambda learner, _: defenses.Relabel(learner),
        lambda learner, _: defenses.SoftRelabel(learner),
    ),
    "roni": entry(lambda learner, _: defenses.Roni(learner)),
    "micro-models": entry(
        lambda learner, _: defenses.MicroModels(learner),
        lambda learner, _: defenses.SoftMicroModels(learner),
    ),
}
Defense = Literal[
    "filter", "slab", "neighbours", "residual", "trim", "sever", "relabel", "roni", "micro-models"
]
