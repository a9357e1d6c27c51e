"""Poisoning support vector machines (Biggio, Nelson & Laskov, ICML 2012), for any number of points.

Needs to know: the training rows, the learner and its C and kernel, and validation rows. Needs to
touch: a few inserted rows, labels of the attacker's choice. What is meant to stop it: outlier
filters and label sanitisation, `defenses`; the experiment `arena` measures what they leave.
"""

from collections.abc import Callable

from jaxtyping import Array, Float, PRNGKeyArray

from bilevel import Data
from bilevel.learners import SVM
from bilevel.maximize import Optimized, Step, value_only

from ._ascent import ascend
from ._compose import compose
from .capabilities import Insert
from .domains import AbstractDomain, Box
from .goals import indiscriminate


def poison_svm(
    train: Data,
    start: Float[Array, "m d"],
    labels: Float[Array, " m"],
    validation: Data,
    *,
    learner: SVM | None = None,
    domain: AbstractDomain | None = None,
    steps: int = 70,
    first_step: float = 2.0,
    last_step: float = 0.02,
    record: Callable[[Step], object] = value_only,
    reseed: Callable[[PRNGKeyArray, Array, Array], Array] | None = None,
) -> Optimized:
    """Insert m rows that raise the validation hinge loss of the retrained SVM; all move at once.

    - `start`: usually rows of the attacked class, given the attacker's `labels` (-1 or +1).
    - `domain`: where a row may lie (default [0, 1] in every feature).
    - `steps`: evaluations of value and hypergradient. Points move by a length, root mean square
      over points and in units of a feature, that falls geometrically from `first_step` to
      `last_step`.
    - `record`, `reseed`: as in `bilevel.minimize`; for example `Reseed(pool)`, for rows that are
      no support vectors.

    Compiled once per shape. The paper moves one point after the other by its KKT formula, which
    leaves out that a point on the margin moves its own condition. Here all points share one
    adjoint solve of the exact one.
    """
    reach = Insert(labels, Box(0.0, 1.0) if domain is None else domain)
    goal = indiscriminate(validation.x, validation.y)
    attack = compose(SVM() if learner is None else learner, reach, goal, train)
    return ascend(
        attack, start,
        steps=steps, first_step=first_step, last_step=last_step, record=record, reseed=reseed,
    )  # fmt: skip
