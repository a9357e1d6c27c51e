"""A smooth SEVER: every row keeps a share, so that the derivative sees rows being thrown out."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax

from bilevel import argmin
from bilevel.learners import AbstractLearner
from bilevel.problems import FixedPoint
from bilevel.solvers import Anderson
from bilevel.tools import require_count, stop_gradient, worst

from .._arguments import balance_argument, positive_argument, share_argument
from ._gradients import principal, row_gradients
from ._inspection import Inspection, reweighed
from ._quotas import BALANCE, class_of, least_mass
from ._sanitiser import AbstractSoftSanitiser
from ._selection import soft_lowest


class SoftSever(AbstractSoftSanitiser):
    """The attacker's smooth surrogate of `Sever`: score what it finds with `Sever` itself.

    Each round multiplies the shares of the rows by 1 / (1 + (score / threshold)^sharpness), so that
    they sum to as many rows as `Sever` keeps. Differentiable throughout: trainings and principal
    directions implicitly.
    """

    learner: AbstractLearner
    contamination: float
    rounds: int
    sharpness: float
    balance: float

    def __init__(
        self,
        learner: AbstractLearner,
        contamination: float = 0.2,
        rounds: int = 4,
        sharpness: float = 2.0,
        balance: float = BALANCE,
    ):
        self.learner, self.rounds = learner, require_count("rounds", rounds)
        self.contamination = share_argument("contamination", contamination)
        self.sharpness = positive_argument("sharpness", sharpness)
        self.balance = balance_argument(balance)

    @eqx.filter_jit
    def inspect(self, data, *, key=None):
        learner = self.learner
        used = lax.stop_gradient((data.weight > 0).astype(data.weight.dtype))
        group = class_of(stop_gradient(data), learner.loss)

        def fade(share, number):
            subset = reweighed(data, share)
            fitted = learner.fit(subset, key=key, throw=False)
            gradients = row_gradients(learner.loss, fitted.model, subset)
            near = principal(stop_gradient(gradients))
            direction = argmin(
                FixedPoint(lambda c, gradients: gradients.turn(c), near, gradients),
                solver=Anderson(tol=1e-16),
                throw=False,
            )
            score = gradients.scores(direction.value)
            mass = used * share
            left = 1 - self.contamination / self.rounds * (number + 1)
            least = least_mass(group, used > 0, left, self.balance)
            count = left * jnp.sum(used)
            share = share * soft_lowest(score, mass, count, self.sharpness, least)
            return share, (score, worst(fitted.result, direction.result))

        numbers = jnp.arange(self.rounds, dtype=data.weight.dtype)
        share, (scores, codes) = lax.scan(fade, jnp.ones_like(data.weight), numbers)
        kept = reweighed(data, share)
        return Inspection(kept, scores[-1], jnp.int32(self.rounds), jnp.max(codes), group=group)
