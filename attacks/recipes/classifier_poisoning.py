"""Poisoning linear classifiers: ridge, LASSO, elastic net (Xiao et al., ICML 2015) and logistic
regression (Mei & Zhu, AAAI 2015), for any number of points.

Needs to know: the training rows, the learner and its strengths, and validation rows. Needs to
touch: a few inserted rows, labels of the attacker's choice. What is meant to stop it: outlier
filters and label sanitisation, `defenses`; the experiment `arena` measures what they leave.
"""

from jaxtyping import Array, Float, Shaped

from bilevel import Ascent, Data
from bilevel.learners import AbstractLearner
from bilevel.losses import Logistic

from .._compose import compose
from ..capabilities import Insert
from ..domains import AbstractDomain, Box
from ..goals import AbstractGoal, indiscriminate
from ._recipe import Recipe, recipe


def poison_classifier(
    train: Data,
    start: Float[Array, "m d"],
    labels: Shaped[Array, " m"],
    validation: Data,
    learner: AbstractLearner,
    *,
    weight: Float[Array, " m"] | None = None,
    goal: AbstractGoal | None = None,
    domain: AbstractDomain | None = None,
    steps: int = 70,
    ascent: Ascent = Ascent(),
) -> Recipe:
    """Insert m rows that raise the validation loss of the retrained classifier; all move at once.

    - `start`: usually rows of the attacked class, given the attacker's `labels` (-1 or +1).
    - `learner`: the victim. Its derivative is the one that is climbed by.
    - `weight`: of the inserted rows, one unless given; rows of weight zero are not there.
    - `goal`: the logistic loss on `validation` unless given; Xiao et al. add the learner's
      penalty, `goals.Penalised`.
    - `domain`: where a row may lie (default [0, 1] in every feature).
    - `steps`: evaluations of value and hypergradient.
    - `ascent`: lengths of the steps, root mean square over rows and in units of a feature's range.
    """
    reach = Insert(labels, Box(0.0, 1.0) if domain is None else domain, weight)
    if goal is None:
        goal = indiscriminate(validation.x, validation.y, Logistic())
    return recipe(compose(learner, reach, goal, train), start, ascent, steps)
