"""TRIM (Jagielski et al., IEEE S&P 2018, algorithm 2): train on the rows that fit best, again and
again.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from bilevel import Data, argmin, batch
from bilevel._tree import stop_gradient
from bilevel.learners import AbstractLearner

from ._defense import AbstractDefense, Inspection, reweighed, share_argument
from ._selection import kept_count, lowest, mask_of, row_hash, row_losses


class Trim(AbstractDefense):
    """Drop the share `contamination` of the rows, those with the largest losses under a model that
    is trained on the others.

    From all rows, and from `restarts` random subsets: train, keep the rows of smallest loss, until
    the set stays (or `max_trainings`); the set of the least mean loss is taken. The search carries
    no derivative, the training after it does: where the set stays, that of the defended learner in
    the rows kept is exact, and rows dropped have derivative zero. `SoftTrim` has one in all rows.

    Stops poison that fits badly. The learner's regularisation decides: one that can interpolate
    poison keeps it (choose the strength on clean rows). A `contamination` above the true share
    drops clean rows: `inspect(data).message(data)` says whether a gap sets the dropped ones apart.
    """

    learner: AbstractLearner
    contamination: float
    restarts: int
    max_trainings: int
    seed: int

    def __init__(
        self,
        learner: AbstractLearner,
        contamination: float = 0.2,
        restarts: int = 0,
        max_trainings: int = 100,
        seed: int = 0,
    ):
        if restarts < 0 or max_trainings < 1:
            raise ValueError(
                f"restarts, max_trainings: got {restarts}, {max_trainings}, expected at least 0, 1"
            )
        self.learner = learner
        self.contamination = share_argument("contamination", contamination)
        self.restarts, self.max_trainings, self.seed = restarts, max_trainings, seed

    def inspect(self, data: Data) -> Inspection:
        data_, learner = stop_gradient(data), stop_gradient(self.learner)
        used = data_.weight > 0
        count = kept_count(used, self.contamination)

        def start(seed: Int[Array, ""]) -> Bool[Array, " n"]:
            """All rows for seed 0, else a random set of as many as are kept."""
            hashes = row_hash(data_.x, data_.y, self.seed) ^ (seed.astype(jnp.uint32) << 8)
            drawn = row_hash(hashes[:, None].astype(jnp.float32), data_.y)
            return jnp.where(seed == 0, used, lowest(drawn.astype(data_.y.dtype), used, count))

        def search(seed: Int[Array, ""]):
            keep = start(seed)
            warm = learner.solver.cold(learner.problem(data_))
            blank = jnp.zeros_like(data_.y)
            state = keep, ~keep, warm, blank, jnp.int32(0)
            keep, _, _, score, trainings = lax.while_loop(unsettled, refit, state)
            loss = jnp.sum(jnp.where(keep, data_.weight * score, 0)) / jnp.sum(keep * data_.weight)
            return keep, score, trainings, loss

        def unsettled(state):
            keep, before, _, _, trainings = state
            return jnp.any(keep != before) & (trainings < self.max_trainings)

        def refit(state):
            keep, _, warm, _, trainings = state
            subset = reweighed(data_, keep.astype(data_.weight.dtype))
            trained = argmin(learner.problem(subset), warm, solver=learner.solver, throw=False)
            f = learner.model(subset, trained.value).decision(data_.x)
            score = row_losses(learner.loss, data_.y, f)
            return lowest(score, used, count), keep, trained.warm, score, trainings + 1

        if self.restarts == 0:
            keep, score, trainings, _ = search(jnp.int32(0))
        else:
            found = batch(search)(jnp.arange(self.restarts + 1, dtype=jnp.int32))
            best = jnp.argmin(jnp.where(jnp.isnan(found[3]), jnp.inf, found[3]))
            keep, score, trainings = found[0][best], found[1][best], jnp.sum(found[2])
        return Inspection(reweighed(data, mask_of(keep, data.weight)), score, trainings)

    def kinks(self, data: Data) -> Float[Array, " n"]:
        """How far each row's loss is from the threshold between kept and dropped."""
        found = self.inspect(data)
        used = data.weight > 0
        most = jnp.max(jnp.where(found.kept, found.score, -jnp.inf))
        least = jnp.min(jnp.where(used & ~found.kept, found.score, jnp.inf))
        return jnp.where(used, jnp.abs(found.score - 0.5 * (most + least)), jnp.inf)
