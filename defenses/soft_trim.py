"""A smooth TRIM: every row keeps a share, so that the derivative sees rows being thrown out."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from bilevel import Data, argmin
from bilevel.learners import AbstractLearner
from bilevel.problems import FixedPoint
from bilevel.solvers import Anderson
from bilevel.tools import norm, stop_gradient

from ._arguments import count_argument, positive_argument, share_argument
from ._defense import AbstractDefense, Inspection, reweighed
from ._selection import soft_lowest


class SoftTrim(AbstractDefense):
    """The attacker's smooth surrogate of `Trim`: score what it finds with `Trim` itself.

    Shares s_i = 1 / (1 + (loss_i / threshold)^sharpness) that sum to (1 - contamination) n, with
    losses of the model trained with weights s, are a fixed point of training and sharing in turn.
    It is found from all rows and differentiated implicitly; where it is not found, the result is
    NaN. The tails are heavy, so that poison that is thrown out feels which way leads back in.
    """

    learner: AbstractLearner
    contamination: float
    sharpness: float
    max_trainings: int

    def __init__(
        self,
        learner: AbstractLearner,
        contamination: float = 0.2,
        sharpness: float = 2.0,
        max_trainings: int = 300,
    ):
        self.learner = learner
        self.contamination = share_argument("contamination", contamination)
        self.sharpness = positive_argument("sharpness", sharpness)
        self.max_trainings = count_argument("max_trainings", max_trainings, 1)

    def inspect(self, data: Data) -> Inspection:
        used = (lax.stop_gradient(data.weight) > 0).astype(data.y.dtype)
        count = (1 - self.contamination) * jnp.sum(used)

        def losses(share: Float[Array, " n"]) -> Float[Array, " n"]:
            subset = reweighed(data, share)
            solver = self.learner.solver
            trained = argmin(self.learner.problem(subset), solver=solver, throw=False)
            f = self.learner.model(subset, trained.value).decision(data.x)
            return self.learner.loss(data.y, f)

        def share_again(share: Float[Array, " n"], _) -> Float[Array, " n"]:
            return soft_lowest(losses(share), used, count, self.sharpness)

        def settle(state):
            share, _, step = state
            return share_again(share, None), share, step + 1

        def unsettled(state):
            share, before, step = state
            return (norm(share - before) > 1e-6 * norm(share)) & (step < self.max_trainings)

        # Turns of training and sharing go down, extrapolation need not: it is for the last digits.
        start = jnp.full_like(data.y, 1 - self.contamination)
        state = start, jnp.zeros_like(start), jnp.int32(0)
        near, _, steps = stop_gradient(lax.while_loop(unsettled, settle, stop_gradient(state)))
        share = argmin(
            FixedPoint(share_again, near),
            solver=Anderson(tol=1e-12, max_steps=self.max_trainings),
            throw=False,
        )
        keep = jnp.where(share.result == 0, share.value, jnp.nan)
        steps = steps + share.stats["steps"] + 1
        return Inspection(reweighed(data, keep), losses(stop_gradient(keep)), steps)
