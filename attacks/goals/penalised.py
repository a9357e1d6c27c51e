"""A goal plus a penalty of the model's weights."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from bilevel.learners import LinearModel

from ._goal import AbstractGoal


class Penalised(AbstractGoal):
    """The score of another goal + l1 |w|_1 + l2/2 |w|^2, for linear models.

    - `goal`: the other goal. `l1`, `l2`: strengths, usually those of the learner.

    Xiao et al., ICML 2015, maximise a loss with the penalty of the learner. For a loss on the clean
    training rows this is the regularised training loss (W_tr of Jagielski et al., IEEE S&P 2018).
    `score` raises `ValueError` for other models.
    """

    goal: AbstractGoal
    l1: Float[Array, ""]
    l2: Float[Array, ""]

    def __init__(self, goal: AbstractGoal, *, l1=0.0, l2=0.0):
        self.goal, self.l1, self.l2 = goal, jnp.asarray(l1, float), jnp.asarray(l2, float)

    def check(self, data):
        self.goal.check(data)

    def prepare(self, learner):
        return eqx.tree_at(lambda g: g.goal, self, self.goal.prepare(learner))

    def score(self, model, world, *, key=None):
        w = _weights(model)
        penalty = self.l1 * jnp.sum(jnp.abs(w)) + 0.5 * self.l2 * jnp.sum(w * w)
        return self.goal.score(model, world, key=key) + penalty.astype(w.dtype)

    def kinks(self, model, world):
        w = _weights(model)  # features outside the support stay there: their zeros are no kinks
        return jnp.concatenate([self.goal.kinks(model, world), jnp.where(w == 0, jnp.inf, w)])


def _weights(model) -> Array:
    if not isinstance(model, LinearModel):
        raise ValueError(
            f"goal: Penalised needs a linear model (ridge, LASSO, logistic), got a "
            f"{type(model).__name__}"
        )
    return model.w
