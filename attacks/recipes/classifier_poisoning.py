"""Poisoning linear classifiers: ridge, LASSO, elastic net (Xiao et al., ICML 2015) and logistic
regression (Mei & Zhu, AAAI 2015), for any number of points.

The attacker knows the training rows, the learner and its strengths, and validation rows. The
attacker inserts a few rows with labels of choice. Defenses: outlier filters and label
sanitisation, in `defenses`; the experiment `arena` measures the attack against them.
"""

from jaxtyping import ArrayLike, Float, Shaped

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
    start: Float[ArrayLike, "m d"],
    labels: Shaped[ArrayLike, " m"],
    validation: Data,
    learner: AbstractLearner,
    *,
    weight: Float[ArrayLike, " m"] | None = None,
    goal: AbstractGoal | None = None,
    domain: AbstractDomain | None = None,
    steps: int = 70,
    ascent: Ascent = Ascent(),
) -> Recipe:
    """Insert m rows that raise the validation loss of the retrained classifier; all move at once.

    - `train`: the clean training rows.
    - `start` (m, d): usually rows of the attacked class.
    - `labels` (m,): the attacker's labels, -1 or +1.
    - `validation`: rows of the default goal.
    - `learner`: the victim; its derivative is that of the ascent.
    - `weight` (m,): of the inserted rows, by default ones; rows of weight zero have no effect.
    - `goal`: by default the logistic loss on `validation`. Xiao et al. add the learner's penalty,
      `goals.Penalised`.
    - `domain`: of the rows, by default [0, 1] in every feature.
    - `steps`: number of evaluations of value and hypergradient.
    - `ascent`: lengths of the steps, root mean square over rows and in units of a feature's range.

    Raises `ValueError` for parts that do not match and for a start outside the domain.
    """
    reach = Insert(labels, Box(0.0, 1.0) if domain is None else domain, weight)
    if goal is None:
        goal = indiscriminate(validation.x, validation.y, Logistic())
    return recipe(compose(learner, reach, goal, train), start, ascent, steps)
