"""Poisoning support vector machines (Biggio, Nelson & Laskov, ICML 2012), for any number of points.

Needs to know: the training rows, the learner and its C and kernel, and validation rows. Needs to
touch: a few inserted rows, labels of the attacker's choice. What stops it: outlier filters on
the distance to the class centroid, since strong poison lies far out, and capping a row's weight.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

import bilevel
from bilevel import Data
from bilevel.learners import SVM
from bilevel.maximize import Optimized, Step

from ._compose import compose
from .capabilities import Box, Insert
from .goals import indiscriminate
from .optimizers import unit_rows


def poison_svm(
    train: Data,
    start: Float[Array, "m d"],
    labels: Float[Array, " m"],
    validation: Data,
    *,
    learner: SVM | None = None,
    domain: Box | None = None,
    steps: int = 200,
    step_length: float = 1.0,
    record: Callable[[Step], object] = lambda step: step.value,
    reseed: Callable[[PRNGKeyArray, Array, Array], Array] | None = None,
) -> Optimized:
    """Insert m rows that raise the validation hinge loss of the retrained SVM; all move at once.

    - `start`: usually rows of the attacked class, given the attacker's `labels` (-1 or +1).
    - `domain`: where a row may lie (default [0, 1] in every feature).
    - `steps`: evaluations of value and hypergradient at most; `step_length` in units of a feature.
    - `reseed`: for example `Reseed(pool)`, for rows that are no support vectors.

    The paper moves one point after the other by its KKT formula, which leaves out that a point on
    the margin moves its own condition. Here all points share one adjoint solve of the exact one.
    """
    reach = Insert(labels, Box(0.0, 1.0) if domain is None else domain)
    goal = indiscriminate(validation.x, validation.y)
    attack = compose(SVM() if learner is None else learner, reach, goal, train)
    return bilevel.maximize(
        attack,
        reach.check_start(jnp.asarray(start)),
        optimizer=unit_rows(step_length),
        project=reach.project,
        steps=steps,
        record=record,
        reseed=reseed,
    )
