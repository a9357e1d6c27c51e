"""A smooth TRIM: every row keeps a share, so that the derivative sees rows being thrown out."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from bilevel import Data, Point, argmin
from bilevel.learners import AbstractLearner, Fitted
from bilevel.problems import FixedPoint
from bilevel.results import CONVERGED
from bilevel.solvers import Anderson
from bilevel.tools import norm, require_count, stop_gradient, worst

from .._arguments import balance_argument, positive_argument, share_argument
from .._trial import trial
from ._inspection import Inspection, reweighed
from ._quotas import BALANCE, class_of, least_mass
from ._sanitiser import AbstractSoftSanitiser
from ._selection import graded, soft_lowest


class SoftTrim(AbstractSoftSanitiser):
    """The attacker's smooth surrogate of `Trim`: score what it finds with `Trim` itself.

    Shares s_i = 1 / (1 + (loss_i / threshold)^sharpness) that sum to (1 - contamination) n, with
    losses of the model trained with weights s (the hinge loss, which can be zero, smoothed to
    log(1 + exp(1 - y f))), are a fixed point of training and sharing in turn.
    The search starts with all rows; the fixed point is differentiated implicitly. Where none is
    found within `max_trainings` the result is a failure. The tails are heavy: poison that is thrown
    out has a derivative that leads back in.
    """

    learner: AbstractLearner
    contamination: float
    sharpness: float
    max_trainings: int
    balance: float

    def __init__(
        self,
        learner: AbstractLearner,
        contamination: float = 0.2,
        sharpness: float = 2.0,
        max_trainings: int = 300,
        balance: float = BALANCE,
    ):
        self.learner = learner
        self.contamination = share_argument("contamination", contamination)
        self.sharpness = positive_argument("sharpness", sharpness)
        self.max_trainings = require_count("max_trainings", max_trainings)
        self.balance = balance_argument(balance)

    @eqx.filter_jit
    def inspect(self, data, *, key=None):
        return self._search(data, key)[0]

    def training(self, data, *, key=None):
        # The search ends with the training on the shares found: its point is the solution.
        seen, point = self._search(data, key)
        return self.trained_on(seen, key, point)

    def _search(self, data: Data, key: PRNGKeyArray | None) -> tuple[Inspection, Point | None]:
        learner, given = self.learner, stop_gradient(data)
        used = (given.weight > 0).astype(data.weight.dtype)
        count = (1 - self.contamination) * jnp.sum(used)
        group = class_of(given, learner.loss)
        least = least_mass(group, used > 0, 1 - self.contamination, self.balance)

        def shared(losses: Float[Array, " n"]) -> Float[Array, " n"]:
            return soft_lowest(losses, used, count, self.sharpness, least)

        def judged(share: Float[Array, " n"], warm: PyTree) -> tuple[Float[Array, " n"], Fitted]:
            fitted = learner.fit(reweighed(data, share), warm, key=key, throw=False)
            return graded(learner.loss, data.y, fitted.model.decision(data.x)), fitted

        def settle(state):
            share, _, warm, step, code = state
            losses, fitted = judged(share, warm)
            return shared(losses), share, fitted.warm, step + 1, worst(code, fitted.result)

        def unsettled(state):
            share, before, _, step, _ = state
            return (norm(share - before) > 1e-6 * norm(share)) & (step < self.max_trainings)

        # Turns of training and sharing go down, extrapolation need not: it is for the last digits.
        start = jnp.full_like(data.weight, 1 - self.contamination)
        cold = learner.cold(data, key=key)
        state = start, jnp.zeros_like(start), cold, jnp.int32(0), jnp.int32(CONVERGED)
        near, _, warm, steps, code = lax.while_loop(unsettled, settle, stop_gradient(state))
        warm = stop_gradient(warm)

        def share_again(share: Float[Array, " n"], _) -> Float[Array, " n"]:
            # From so near, trainings end at rounding, not only within their tolerance.
            return shared(judged(share, warm)[0])

        share = argmin(
            FixedPoint(share_again, stop_gradient(near)),
            solver=Anderson(tol=1e-16, max_steps=self.max_trainings),
            throw=False,
        )
        last = trial(learner, reweighed(given, stop_gradient(share.value)), warm, key)
        losses = graded(learner.loss, given.y, last.model.decision(given.x))
        trainings = steps + share.stats["steps"] + 1
        result = worst(code, share.result, last.result)
        kept = reweighed(data, share.value)
        return Inspection(kept, losses, trainings, result, group=group), last.point
