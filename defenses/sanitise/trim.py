"""TRIM (Jagielski et al., IEEE S&P 2018, algorithm 2): train on the rows that fit best, again and
again.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from bilevel import Data, Point, batch
from bilevel.learners import AbstractLearner
from bilevel.results import CONVERGED, MAX_STEPS
from bilevel.tools import require_count, stop_gradient, worst

from .._arguments import balance_argument, share_argument
from .._defense import softened
from .._hash import row_hash
from .._trial import traced_once, trial
from ._inspection import Inspection, class_gaps, reweighed
from ._quotas import BALANCE, Quota, class_of, quota
from ._sanitiser import AbstractHardSanitiser, mask_of
from ._selection import first_lowest, kept_count, level, lowest, ranked
from .soft_trim import SoftTrim

TRIALS, PROMISING = 2, 0.25
"""Trainings of every restart, and the share of restarts that go on."""


class Search(NamedTuple):
    """Where a search stands: the rows to train on next, and those of the last training, with its
    outcome.
    """

    keep: Bool[Array, " n"]
    trained: Bool[Array, " n"]
    warm: PyTree
    point: Point | None
    score: Float[Array, " n"]
    loss: Float[Array, ""]
    trainings: Int[Array, ""]
    result: Int[Array, ""]


class Trim(AbstractHardSanitiser):
    """Drop the share `contamination` of the rows, those with the largest losses under a model that
    is trained on the others.

    Train on all rows, keep those of smallest loss, and again until the set stays. So also from
    `restarts` random sets, of which the best quarter after two trainings goes on, as in FAST-LTS
    (Rousseeuw & Van Driessen 2006): the set of the least mean loss is taken. The search carries
    no derivative, the training on the set that stays does: in the rows kept it is exact, and rows
    dropped have derivative zero. `SoftTrim` has one in all rows. A set that still changes after
    `max_trainings` is a failure, `MAX_STEPS`; the rows are then those of the last training.

    Stops poison that fits badly. The learner's regularisation decides: one that can interpolate
    poison keeps it (choose the strength on clean rows). A `contamination` above the true share
    drops clean rows: `inspect(data).message(data)` says whether a gap sets the dropped ones apart.

    - `balance`: of labels that are classes, each keeps this part, at least, of the share that the
      others together keep (0, as published, sets no quota: a rare class, which fits
      worst, is then dropped first).
    """

    learner: AbstractLearner
    contamination: float
    restarts: int
    max_trainings: int
    seed: int
    balance: float

    def __init__(
        self,
        learner: AbstractLearner,
        contamination: float = 0.2,
        restarts: int = 0,
        max_trainings: int = 100,
        seed: int = 0,
        balance: float = BALANCE,
    ):
        self.learner = learner
        self.contamination = share_argument("contamination", contamination)
        self.restarts = require_count("restarts", restarts, 0)
        self.max_trainings = require_count("max_trainings", max_trainings)
        self.seed, self.balance = seed, balance_argument(balance)

    def surrogate(self, data):
        """`SoftTrim` around the same learner."""
        return SoftTrim(softened(self.learner, data), self.contamination, balance=self.balance)

    @eqx.filter_jit
    def inspect(self, data, *, key=None):
        return self._search(data, key)[0]

    def training(self, data, *, key=None):
        # The search ends with the training on the rows kept: its point is the solution.
        seen, point = self._search(data, key)
        return self.trained_on(seen, key, point)

    def _search(self, data: Data, key: PRNGKeyArray | None) -> tuple[Inspection, Point | None]:
        given, learner = stop_gradient(data), stop_gradient(self.learner)
        used = given.weight > 0
        count = kept_count(used, self.contamination)
        content, cold = row_hash(given.x, given.y), learner.cold(given, key=key)
        group = class_of(given, learner.loss)
        least = quota(group, used, 1 - self.contamination, self.balance)

        def decisions(keep: Bool[Array, " n"], warm: PyTree):
            trained = trial(learner, reweighed(given, keep), warm, key)
            return trained.model.decision(given.x), trained.result, *_split(learner, trained.point)

        train, (*_, shape) = traced_once(decisions, used, cold)

        def again(state: Search) -> Search:
            f, code, warm, point = train(state.keep, state.warm)
            score = level(ranked(learner.loss, given.y, f))  # ties must not go by rounding
            keep = lowest(score, used, count, content, least)
            mass = jnp.where(keep, given.weight, 0)
            loss = jnp.sum(mass * score) / jnp.sum(mass)
            result = worst(state.result, code)
            return Search(keep, state.keep, warm, point, score, loss, state.trainings + 1, result)

        def search(state: Search, trainings: int) -> Search:
            def unsettled(state: Search):
                return jnp.any(state.keep != state.trained) & (state.trainings < trainings)

            return lax.while_loop(unsettled, again, state)

        blank = jnp.full_like(given.weight, jnp.nan)
        point = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)

        def begin(keep: Bool[Array, " n"]) -> Search:
            none, done = jnp.int32(0), jnp.int32(CONVERGED)
            return Search(keep, ~keep, cold, point, blank, blank[0], none, done)

        if self.restarts == 0:
            end = search(begin(used), self.max_trainings)
            trainings, result = end.trainings, end.result
        else:
            numbers = self.restarts, self.seed
            drawn = drawn_sets(given.x, given.y, used, count, *numbers, least)
            tried = batch(lambda keep: search(begin(keep), TRIALS)._replace(point=None))(drawn)
            some = jax.tree.map(lambda leaf: leaf[promising(tried.loss)], tried)
            some = _once_more(some)
            limit = max(self.max_trainings, TRIALS + 1)
            starts = jax.tree.map(_in_front, begin(used)._replace(point=None), some)
            ends = batch(lambda state: search(state._replace(point=point), limit))(starts)
            best = jnp.argmin(jnp.where(jnp.isnan(ends.loss), jnp.inf, ends.loss))
            end = jax.tree.map(lambda leaf: leaf[best], ends)
            trainings = jnp.sum(tried.trainings) - jnp.sum(some.trainings)
            trainings = (trainings + jnp.sum(ends.trainings)).astype(jnp.int32)
            result = worst(jnp.max(tried.result), jnp.max(ends.result))
        unsettled = jnp.any(end.keep != end.trained)
        result = worst(result, jnp.where(unsettled, MAX_STEPS, CONVERGED))
        kept = reweighed(data, mask_of(end.trained, data.weight))
        first = first_lowest(end.score, used, content, least)
        margin = class_gaps(end.score, end.trained, used, group, first)
        seen = Inspection(kept, end.score, trainings, result, margin, group=group)
        return seen, _joined(end.warm, end.point)


def drawn_sets(
    x: Any, y: Any, used: Any, count: Any, restarts: int, seed: int, least: Quota | None = None
) -> Any:
    """Random sets of `count` of the rows used, masks (restarts, n), with the quota of each class: a
    function of the rows' content.
    """
    xp = used.__array_namespace__()
    # Neighbouring seeds have no set in common.
    numbers = [(restarts * seed + number) % 2**32 for number in range(restarts)]

    def drawn(number: Any) -> Any:
        return lowest(xp.zeros(used.shape[0]), used, count, row_hash(x, y, number), least)

    if isinstance(used, Array):  # the program does not grow with the restarts
        return jax.vmap(drawn)(jnp.asarray(numbers, jnp.uint32))
    return np.stack([drawn(number) for number in numbers])


def promising(losses: Any) -> Any:
    """Indices of the restarts that go on, by their mean losses (restarts,) after `TRIALS`."""
    xp = losses.__array_namespace__()
    return xp.argsort(losses, stable=True)[: max(1, round(PROMISING * losses.shape[0]))]


def _once_more(some: Search) -> Search:
    """States in the order of their losses, so that another search trains once more where the set
    has changed, and where it stayed in the first of these, for its point: the points of all would
    fill memory. The others that stayed are out.
    """
    stays = jnp.all(some.keep == some.trained, axis=1)
    out = stays & (jnp.arange(stays.size) != jnp.argmax(stays))
    trained = jnp.where(out[:, None], some.keep, ~some.keep)
    return some._replace(trained=trained, loss=jnp.where(out, jnp.inf, some.loss))


def _in_front(one: Array, more: Array) -> Array:
    return jnp.concatenate([one[None], more])


def _split(learner: AbstractLearner, point: Point | None) -> tuple[PyTree, Point | None]:
    """(warm start, the rest of a point): they come together in a search's last state only."""
    if point is None:
        return None, None
    rest = Point(point.unknowns, point.frozen, None, point.result, point.stats)
    return point.warm if learner.solver.converges else None, rest


def _joined(warm: PyTree, point: Point | None) -> Point | None:
    if point is None:
        return None
    return Point(point.unknowns, point.frozen, warm, point.result, point.stats)
