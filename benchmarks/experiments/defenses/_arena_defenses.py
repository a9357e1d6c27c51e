"""The defenses of the arena."""

from collections.abc import Callable
from typing import Literal

import defenses
from bilevel.learners import AbstractLearner
from defenses import AbstractDefense, scores

Wrap = Callable[[AbstractLearner, float], AbstractDefense]


def filtered(score: scores.AbstractScore) -> Wrap:
    """The filter by this score."""
    return lambda learner, share: defenses.Filter(learner, score, share)


DEFENSES: dict[str, Wrap] = {
    "filter": filtered(scores.Distance()),
    "slab": filtered(scores.Slab()),
    "neighbours": filtered(scores.Neighbours()),
    "residual": filtered(scores.Residual()),
    "trim": defenses.Trim,
    "sever": defenses.Sever,
    "relabel": lambda learner, _: defenses.Relabel(learner),
    "roni": lambda learner, _: defenses.Roni(learner),
    "micro-models": lambda learner, _: defenses.MicroModels(learner),
}
Defense = Literal[
    "filter", "slab", "neighbours", "residual", "trim", "sever", "relabel", "roni", "micro-models"
]
