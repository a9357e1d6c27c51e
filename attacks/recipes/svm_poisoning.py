"""Poisoning support vector machines (Biggio, Nelson & Laskov, ICML 2012), for any number of points.

The attacker knows the training rows, the learner with its C and kernel, and validation rows. The
attacker inserts a few rows with labels of choice. Defenses: outlier filters and label
sanitisation, in `defenses`; the experiment `arena` measures the attack against them.
"""

from jaxtyping import ArrayLike, Float, Shaped

from bilevel import Ascent, Data
from bilevel.learners import SVM

from .._compose import compose
from ..capabilities import Insert
from ..domains import AbstractDomain, Box
from ..goals import AbstractGoal, indiscriminate
from ._recipe import Recipe, recipe


def poison_svm(
    train: Data,
    start: Float[ArrayLike, "m d"],
    labels: Shaped[ArrayLike, " m"],
    validation: Data,
    learner: SVM | None = None,
    *,
    weight: Float[ArrayLike, " m"] | None = None,
    goal: AbstractGoal | None = None,
    domain: AbstractDomain | None = None,
    steps: int = 70,
    ascent: Ascent = Ascent(),
) -> Recipe:
    """Insert m rows that raise the validation hinge loss of the retrained SVM; all move at once.

    - `train`: the clean training rows.
    - `start` (m, d): usually rows of the attacked class.
    - `labels` (m,): the attacker's labels, -1 or +1.
    - `validation`: rows of the default goal.
    - `learner`: the victim; by default `SVM()`, linear with C = 1.
    - `weight` (m,): of the inserted rows, by default ones; rows of weight zero have no effect.
    - `goal`: by default the hinge loss on `validation`.
    - `domain`: of the rows, by default [0, 1] in every feature.
    - `steps`: number of evaluations of value and hypergradient.
    - `ascent`: lengths of the steps, root mean square over rows and in units of a feature's range.

    The paper moves one point after the other by its KKT formula, which omits that a point on the
    margin changes its own condition. Here the gradient is exact, and one adjoint solve gives it for
    all points. Raises `ValueError` for parts that do not match and for a start outside the domain.
    """
    reach = Insert(labels, Box(0.0, 1.0) if domain is None else domain, weight)
    if goal is None:
        goal = indiscriminate(validation.x, validation.y)
    attack = compose(SVM() if learner is None else learner, reach, goal, train)
    return recipe(attack, start, ascent, steps)
