"""Poisoning support vector machines (Biggio, Nelson & Laskov, ICML 2012), for any number of points.

Needs to know: the training rows, the learner and its C and kernel, and validation rows. Needs to
touch: a few inserted rows, labels of the attacker's choice. What is meant to stop it: outlier
filters and label sanitisation, which this project does not have yet and has not measured.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

import bilevel
from bilevel import Data
from bilevel.learners import SVM
from bilevel.maximize import Optimized, Step, value_only

from ._compose import compose
from .capabilities import Box, Insert
from .goals import indiscriminate


def poison_svm(
    train: Data,
    start: Float[Array, "m d"],
    labels: Float[Array, " m"],
    validation: Data,
    *,
    learner: SVM | None = None,
    domain: Box | None = None,
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
    start = reach.check_start(jnp.asarray(start), train)
    decay = (last_step / first_step) ** (1 / max(steps - 1, 1))
    lengths = jnp.asarray(first_step, start.dtype), jnp.asarray(decay, start.dtype)
    return _climb(attack, start, lengths, steps, record, reseed)


@eqx.filter_jit
def _climb(attack, start, lengths, steps, record, reseed) -> Optimized:
    first, decay = lengths
    optimizer = optax.chain(
        optax.normalize_by_update_norm(scale_factor=-(start.shape[0] ** 0.5)),
        optax.scale_by_schedule(lambda step: first * decay**step),
    )
    return bilevel.maximize(
        attack,
        start,
        optimizer=optimizer,
        project=attack.reach.project,
        steps=steps,
        patience=steps,  # the schedule shortens the steps
        record=record,
        reseed=reseed,
    )
