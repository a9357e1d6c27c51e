"""Poisoning linear regression (Jagielski et al., IEEE S&P 2018): ridge, LASSO, elastic net.

The attacker knows the training rows, the learner and its strengths, and validation rows; `stat_p`
needs only moments of the rows and a model. The attacker inserts rows with targets. Defense:
`defenses.Trim`, if the regression is regularised enough and the attack does not adapt to it.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from bilevel import Ascent, Data
from bilevel.learners import AbstractLearner, AbstractModel
from bilevel.losses import Squares
from bilevel.tools import program

from .._compose import compose
from ..capabilities import XY, InsertXY
from ..domains import AbstractDomain, Box
from ..goals import AbstractGoal, indiscriminate
from ._recipe import Recipe, recipe

MOMENTUM = Ascent(share=0.1, momentum=0.8)
"""Steps with momentum, which moves rows from one valid value to the next."""


def poison_regression(
    train: Data,
    start: XY,
    validation: Data,
    learner: AbstractLearner,
    *,
    domain: AbstractDomain,
    targets: AbstractDomain | None = None,
    weight: Float[ArrayLike, " m"] | None = None,
    goal: AbstractGoal | None = None,
    steps: int = 100,
    ascent: Ascent = MOMENTUM,
) -> Recipe:
    """Insert m rows with targets that raise the validation error of the retrained regression.

    - `train`: the clean training rows.
    - `start`: XY of rows (m, d) and targets (m,), for example by `inv_flip`, `b_flip` or `stat_p`.
    - `validation`: rows of the default goal.
    - `learner`: the victim; its derivative is that of the ascent.
    - `domain`: of the rows. One-hot groups and levels are valid at every step: rounding after the
      last step would undo the attack.
    - `targets`: domain of the targets, by default [0, 1].
    - `weight` (m,): of the inserted rows, by default ones; rows of weight zero have no effect.
    - `goal`: by default half the mean square on `validation` (W_val). W_tr, the regularised loss on
      the training rows, is `goals.Penalised(indiscriminate(x, y, Squares()), l2=...)`.
    - `steps`: number of evaluations of value and hypergradient.
    - `ascent`: lengths of the steps, root mean square over rows and in units of a feature's range.

    The result's `z` is relaxed: the inserted rows and targets are `domain.place(z.x)` and
    `targets.place(z.y)`. Raises `ValueError` for parts that do not match and for a start outside
    the domains.
    """
    targets = Box(0.0, 1.0) if targets is None else targets
    reach = InsertXY(start.y.shape[0], domain, targets, weight)
    if goal is None:
        goal = indiscriminate(validation.x, validation.y, Squares())
    return recipe(compose(learner, reach, goal, train), start, ascent, steps)


def inv_flip(y: Float[Array, " m"]) -> Float[Array, " m"]:
    """Mirrored targets, 1 - y for y in [0, 1] (InvFlip, section IV-B)."""
    return 1 - jnp.asarray(y)


def b_flip(y: Float[Array, " m"]) -> Float[Array, " m"]:
    """Targets at the farther end, round(1 - y) for y in [0, 1] (BFlip, section IV-B)."""
    return jnp.round(1 - jnp.asarray(y))


def stat_p(
    key: PRNGKeyArray, count: int, train: Data, model: AbstractModel, domain: AbstractDomain
) -> XY:
    """StatP (section IV-C): random rows from a Gaussian with the training rows' moments, rounded to
    corners and made valid, with the target 0 or 1 that is farther from the prediction. It needs no
    optimisation.

    - `key`: typed key of the draw. `count`: number m of rows.
    - `train`: rows (n, d) for the moments. `model`: of the predictions. `domain`: of the rows.

    The covariance has .01 added to its diagonal, as in the authors' code.
    """
    return _drawn(key, count, train, model, domain)


@program
def _drawn(key, count: int, train: Data, model: AbstractModel, domain: AbstractDomain) -> XY:
    share = train.weight / jnp.sum(train.weight)
    mean = share @ train.x
    centred = train.x - mean[None, :]
    covariance = (share[:, None] * centred).T @ centred
    root = jnp.linalg.cholesky(covariance + 0.01 * jnp.eye(mean.size, dtype=mean.dtype))
    drawn = mean[None, :] + jax.random.normal(key, (count, mean.size), mean.dtype) @ root.T
    x = domain.place(domain.project(jnp.round(jnp.clip(drawn, 0, 1))))
    return XY(x, b_flip(jnp.clip(model.decision(x), 0, 1)))
