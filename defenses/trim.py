"""TRIM (Jagielski et al., IEEE S&P 2018, algorithm 2): train on the rows that fit best, again and
again.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from bilevel import Data, batch
from bilevel.learners import AbstractLearner
from bilevel.tools import stop_gradient

from ._arguments import count_argument, share_argument
from ._defense import AbstractDefense, Inspection, gaps, reweighed
from ._hash import row_hash
from ._selection import kept_count, lowest, mask_of, row_losses

TRIALS, PROMISING = 2, 0.25
"""Trainings of every restart, and the share of restarts that go on."""


class Search(NamedTuple):
    """Where a search stands: the rows kept next and last, and what the last training told."""

    keep: Bool[Array, " n"]
    before: Bool[Array, " n"]
    warm: PyTree
    score: Float[Array, " n"]
    loss: Float[Array, ""]
    trainings: Int[Array, ""]


class Trim(AbstractDefense):
    """Drop the share `contamination` of the rows, those with the largest losses under a model that
    is trained on the others.

    Train on all rows, keep those of smallest loss, and again until the set stays. So also from
    `restarts` random sets, of which the best quarter after two trainings goes on, as in FAST-LTS
    (Rousseeuw & Van Driessen 2006): the set of the least mean loss is taken. The search carries
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
        self.learner = learner
        self.contamination = share_argument("contamination", contamination)
        self.restarts = count_argument("restarts", restarts, 0)
        self.max_trainings = count_argument("max_trainings", max_trainings, 1)
        self.seed = seed

    def inspect(self, data: Data) -> Inspection:
        given, learner = stop_gradient(data), stop_gradient(self.learner)
        used = given.weight > 0
        count = kept_count(used, self.contamination)
        ties = row_hash(given.x, given.y)

        def again(state: Search) -> Search:
            subset = reweighed(given, state.keep.astype(given.weight.dtype))
            problem = learner.problem(subset)
            point = learner.solver.run(problem, state.warm)
            value = learner.solver.value(problem, point.unknowns, point.frozen)
            f = learner.model(subset, value).decision(given.x)
            score = row_losses(learner.loss, given.y, f)
            keep = lowest(score, used, count, ties)
            mass = jnp.where(keep, given.weight, 0)
            loss = jnp.sum(mass * score) / jnp.sum(mass)
            return Search(keep, state.keep, point.warm, score, loss, state.trainings + 1)

        def search(state: Search, most: int) -> Search:
            def unsettled(state: Search):
                return jnp.any(state.keep != state.before) & (state.trainings < most)

            return lax.while_loop(unsettled, again, state)

        def begin(keep: Bool[Array, " n"]) -> Search:
            warm = learner.solver.cold(learner.problem(given))
            nan = jnp.full_like(given.y, jnp.nan)
            return Search(keep, ~keep, warm, nan, nan[0], jnp.int32(0))

        found = search(begin(used), self.max_trainings)
        trainings = found.trainings
        if self.restarts > 0:
            drawn = jnp.stack([self._draw(given, number) for number in range(self.restarts)])
            tried = batch(lambda keep: search(begin(keep), TRIALS))(drawn)
            few = jnp.argsort(tried.loss)[: max(1, round(PROMISING * self.restarts))]
            others = batch(lambda state: search(state, self.max_trainings))(_take(tried, few))
            each = jnp.sum(tried.trainings) - jnp.sum(tried.trainings[few])
            trainings += (each + jnp.sum(others.trainings)).astype(trainings.dtype)
            best = _take(others, jnp.argmin(others.loss))
            better = (best.loss < found.loss) | jnp.isnan(found.loss)
            found = jax.tree.map(lambda a, b: jnp.where(better, a, b), best, found)
        keep = mask_of(found.keep, data.weight)
        return Inspection(reweighed(data, keep), found.score, trainings)

    def _draw(self, data: Data, number: int) -> Bool[Array, " n"]:
        """A random set of as many rows as are kept."""
        used = data.weight > 0
        numbers = row_hash(data.x, data.y, self.seed + number).astype(data.y.dtype)
        return lowest(numbers, used, kept_count(used, self.contamination))

    def kinks(self, data: Data) -> Float[Array, " n"]:
        """How far each row's loss is from the threshold between kept and dropped, and then those
        of the learner.
        """
        found = self.inspect(data)
        own = gaps(found.score, found.kept, data.weight > 0)
        return jnp.concatenate([own, self.learner.kinks(found.data)])


def _take(states: Search, index: Int[Array, "..."]) -> Search:
    return jax.tree.map(lambda leaf: leaf[index], states)
