"""Poisoning linear regression (Jagielski et al., IEEE S&P 2018): ridge, LASSO, elastic net.

Needs to know: the training rows, the learner and its strengths, and validation rows; `stat_p`
knows moments and a model only. Needs to touch: inserted rows and their targets. What stops it,
if it does not know of it and the regression is regularised enough: `defenses.Trim`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from bilevel import Ascent, Data
from bilevel.learners import AbstractLearner, AbstractModel
from bilevel.losses import Squares

from .._compose import compose
from ..capabilities import XY, InsertXY
from ..domains import AbstractDomain, Box
from ..goals import AbstractGoal, indiscriminate
from ._recipe import Recipe, recipe

MOMENTUM = Ascent(share=0.1, momentum=0.8)
"""Steps that go on, so that rows cross from one valid value to the next."""


def poison_regression(
    train: Data,
    start: XY,
    validation: Data,
    learner: AbstractLearner,
    *,
    domain: AbstractDomain,
    targets: AbstractDomain | None = None,
    goal: AbstractGoal | None = None,
    steps: int = 100,
    ascent: Ascent = MOMENTUM,
) -> Recipe:
    """Insert m rows with targets that raise the validation error of the retrained regression.

    - `start`: XY of rows (m, d) and targets (m,), from `inv_flip`, `b_flip` or `stat_p`.
    - `learner`: the victim. Its derivative is the one that is climbed by.
    - `domain`, `targets`: where rows and targets may lie (targets: [0, 1]). One-hot groups and
      levels are valid at every step, not only at the end: rounding afterwards undoes the attack.
    - `goal`: half the mean square on `validation` (W_val) unless given. W_tr, the regularised
      loss on the training rows, is `goals.Penalised(indiscriminate(x, y, Squares()), l2=...)`.
    - `steps`: evaluations of value and hypergradient.
    - `ascent`: lengths of the steps, root mean square over rows and in units of a feature's range.

    The result's `z` is relaxed: what is inserted is `domain.place(z.x)`, `targets.place(z.y)`.
    """
    targets = Box(0.0, 1.0) if targets is None else targets
    reach = InsertXY(start.y.shape[0], domain, targets)
    if goal is None:
        goal = indiscriminate(validation.x, validation.y, Squares())
    return recipe(compose(learner, reach, goal, train), start, ascent, steps)


def inv_flip(y: Float[Array, " m"]) -> Float[Array, " m"]:
    """Targets in [0, 1] mirrored: 1 - y (InvFlip, section IV-B)."""
    return 1 - jnp.asarray(y)


def b_flip(y: Float[Array, " m"]) -> Float[Array, " m"]:
    """Targets in [0, 1] sent to the farther end: round(1 - y) (BFlip, section IV-B)."""
    return jnp.round(1 - jnp.asarray(y))


def stat_p(
    key: PRNGKeyArray, count: int, train: Data, model: AbstractModel, domain: AbstractDomain
) -> XY:
    """StatP (section IV-C): rows from a Gaussian of the training rows' moments, sent to corners and
    made valid, with the target that is farther from what `model` predicts. No optimisation.

    The covariance gets .01 on its diagonal, as in the authors' code.
    """
    share = train.weight / jnp.sum(train.weight)
    mean = share @ train.x
    centred = train.x - mean[None, :]
    covariance = (share[:, None] * centred).T @ centred
    root = jnp.linalg.cholesky(covariance + 0.01 * jnp.eye(mean.size, dtype=mean.dtype))
    drawn = mean[None, :] + jax.random.normal(key, (count, mean.size), mean.dtype) @ root.T
    x = domain.place(domain.project(jnp.round(jnp.clip(drawn, 0, 1))))
    return XY(x, b_flip(jnp.clip(model.decision(x), 0, 1)))
