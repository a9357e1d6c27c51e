"""Poisoning linear classifiers: ridge, LASSO, elastic net (Xiao et al., ICML 2015) and logistic
regression (Mei & Zhu, AAAI 2015), for any number of points.

Needs to know: the training rows, the learner and its strengths, and validation rows. Needs to
touch: a few inserted rows, labels of the attacker's choice. What is meant to stop it: outlier
filters and label sanitisation, `defenses`; the experiment `arena` measures what they leave.
"""

from collections.abc import Callable

from jaxtyping import Array, Float

from bilevel import Data
from bilevel.derivatives import AbstractDerivative
from bilevel.learners import AbstractLearner
from bilevel.losses import Logistic
from bilevel.maximize import Optimized, Step, value_only

from ._ascent import ascend
from ._compose import compose
from .capabilities import Insert
from .domains import AbstractDomain, Box
from .goals import AbstractGoal, indiscriminate


def poison_classifier(
    train: Data,
    start: Float[Array, "m d"],
    labels: Float[Array, " m"],
    validation: Data,
    learner: AbstractLearner,
    *,
    weight: Float[Array, " m"] | None = None,
    goal: AbstractGoal | None = None,
    domain: AbstractDomain | None = None,
    steps: int = 70,
    first_step: float = 2.0,
    last_step: float = 0.02,
    record: Callable[[Step], object] = value_only,
    derivative: AbstractDerivative | None = None,
) -> Optimized:
    """Insert m rows that raise the validation loss of the retrained classifier; all move at once.

    - `start`: usually rows of the attacked class, given the attacker's `labels` (-1 or +1).
    - `weight`: of the inserted rows, one unless given; rows of weight zero are not there.
    - `goal`: the logistic loss on `validation` unless given; Xiao et al. add the learner's
      penalty, `goals.Penalised`.
    - `domain`: where a row may lie (default [0, 1] in every feature).
    - `steps`: evaluations of value and hypergradient. Points move by a length, root mean square
      over points and in units of a feature, that falls geometrically from `first_step` to
      `last_step`.
    - `derivative`: of the inner minimiser (default `Implicit()`).
    """
    reach = Insert(labels, Box(0.0, 1.0) if domain is None else domain, weight)
    if goal is None:
        goal = indiscriminate(validation.x, validation.y, Logistic())
    attack = compose(learner, reach, goal, train, derivative)
    return ascend(
        attack, start,
        steps=steps, first_step=first_step, last_step=last_step, record=record,
    )  # fmt: skip
