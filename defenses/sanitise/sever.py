"""SEVER (Diakonikolas et al., "Sever: a robust meta-algorithm for stochastic optimization", ICML
2019): drop the rows whose gradients stick out.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax

from bilevel.learners import AbstractLearner
from bilevel.results import CONVERGED
from bilevel.tools import require_count, stop_gradient, worst

from .._arguments import balance_argument, share_argument
from .._defense import softened
from .._hash import row_hash
from ._gradients import principal, row_gradients
from ._inspection import Inspection, class_gaps, reweighed
from ._quotas import BALANCE, Quota, class_of, quota
from ._sanitiser import AbstractHardSanitiser, mask_of
from ._selection import first_lowest, kept_count, lowest
from .soft_sever import SoftSever


class Sever(AbstractHardSanitiser):
    """Train, score each row by its gradient along the direction in which gradients vary most, drop
    the highest scores, and again: of `rounds`, each drops an equal part of the share
    `contamination`.

    The gradient is that of the row's loss in the model, slope_i * (x_i, 1) of a linear one, from
    which the mean over the rows kept is subtracted; a score is its squared projection, in units of
    the largest that was kept in the last round that the row was judged in. For an SVM a gradient is
    a function in the space of the kernel. The paper's algorithm draws its threshold at random, its
    experiments drop a fixed share, as here. The search carries no derivative, the training does:
    that of the defended learner in the rows kept.

    Stops poison that pulls together, also where no single row fits badly. Of classes far apart it
    may drop clean rows of one: a gradient's direction depends on the label.

    - `balance`: of labels that are classes, each keeps this part, at least, of the share that the
      others together keep (0, as published, sets no quota).
    """

    learner: AbstractLearner
    contamination: float
    rounds: int
    balance: float

    def __init__(
        self,
        learner: AbstractLearner,
        contamination: float = 0.2,
        rounds: int = 4,
        balance: float = BALANCE,
    ):
        self.learner, self.rounds = learner, require_count("rounds", rounds)
        self.balance = balance_argument(balance)
        self.contamination = share_argument("contamination", contamination)

    def surrogate(self, data):
        """`SoftSever` around the same learner."""
        learner = softened(self.learner, data)
        return SoftSever(learner, self.contamination, self.rounds, balance=self.balance)

    @eqx.filter_jit
    def inspect(self, data, *, key=None):
        given, learner = stop_gradient(data), stop_gradient(self.learner)
        used = given.weight > 0
        content, group = row_hash(given.x, given.y), class_of(given, learner.loss)

        def drop(number, state):
            keep, score, margin, warm, code = state
            subset = reweighed(given, keep)
            fitted = learner.fit(subset, warm, key=key, throw=False)
            gradients = row_gradients(learner.loss, fitted.model, subset)
            along = gradients.scores(principal(gradients))
            share = round_share(self.contamination, self.rounds, number.astype(jnp.float32))
            # Rows without a slope tie: then their content decides, and no order of the rows.
            least = quota(group, used, 1 - share, self.balance)
            left, along = least_along(along, keep, kept_count(used, share), content, least)
            first = first_lowest(along, keep, content, least)
            margin = jnp.minimum(margin, class_gaps(along, left, keep, group, first))
            score = jnp.where(keep, along, score)
            return left, score, margin, fitted.warm, worst(code, fitted.result)

        blank = jnp.zeros_like(given.weight)
        cold = learner.cold(given, key=key)
        state = used, blank, jnp.full_like(blank, jnp.inf), cold, jnp.int32(CONVERGED)
        keep, score, margin, _, result = lax.fori_loop(0, self.rounds, drop, state)
        kept = reweighed(data, mask_of(keep, data.weight))
        return Inspection(kept, score, jnp.int32(self.rounds), result, margin, group=group)


def round_share(contamination: float, rounds: int, number: Any) -> Any:
    """The share of the rows that is dropped once round `number`, from 0 on, is over."""
    return contamination / rounds * (number + 1)


def least_along(score: Any, keep: Any, count: Any, tie: Any, least: Quota) -> tuple[Any, Any]:
    """(the `count` rows of a mask (n,) whose squared projections (n,) are least, but of each class
    its quota, a mask; the projections in units of the largest of these). NumPy's and JAX's arrays
    alike.
    """
    xp = score.__array_namespace__()
    left = lowest(score, keep, count, tie, least)
    largest = xp.max(xp.where(left, score, xp.zeros_like(score)))
    return left, score / xp.where(largest > 0, largest, xp.ones_like(largest))
