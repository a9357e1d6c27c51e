"""Poisoning support vector machines (Biggio, Nelson & Laskov, ICML 2012), for any number of points.

Needs to know: the training rows, the learner and its C and kernel, and validation rows. Needs to
touch: a few inserted rows, labels of the attacker's choice. What is meant to stop it: outlier
filters and label sanitisation, `defenses`; the experiment `arena` measures what they leave.
"""

from jaxtyping import Array, Float, Shaped

from bilevel import Ascent, Data
from bilevel.learners import SVM

from .._compose import compose
from ..capabilities import Insert
from ..domains import AbstractDomain, Box
from ..goals import AbstractGoal, indiscriminate
from ._recipe import Recipe, recipe


def poison_svm(
    train: Data,
    start: Float[Array, "m d"],
    labels: Shaped[Array, " m"],
    validation: Data,
    learner: SVM | None = None,
    *,
    weight: Float[Array, " m"] | None = None,
    goal: AbstractGoal | None = None,
    domain: AbstractDomain | None = None,
    steps: int = 70,
    ascent: Ascent = Ascent(),
) -> Recipe:
    """Insert m rows that raise the validation hinge loss of the retrained SVM; all move at once.

    - `start`: usually rows of the attacked class, given the attacker's `labels` (-1 or +1).
    - `learner`: the victim (default `SVM()`: linear, C = 1).
    - `weight`: of the inserted rows, one unless given; rows of weight zero are not there.
    - `goal`: the hinge loss on `validation` unless given.
    - `domain`: where a row may lie (default [0, 1] in every feature).
    - `steps`: evaluations of value and hypergradient.
    - `ascent`: lengths of the steps, root mean square over rows and in units of a feature's range.

    The paper moves one point after the other by its KKT formula, which leaves out that a point on
    the margin moves its own condition. Here all points share one adjoint solve of the exact one.
    """
    reach = Insert(labels, Box(0.0, 1.0) if domain is None else domain, weight)
    if goal is None:
        goal = indiscriminate(validation.x, validation.y)
    attack = compose(SVM() if learner is None else learner, reach, goal, train)
    return recipe(attack, start, ascent, steps)
