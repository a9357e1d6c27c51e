"""Reject on negative impact (Nelson et al., "Exploiting machine learning to subvert your spam
filter", LEET 2008, section 5.1).
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Real, UInt

from bilevel import Data, batch
from bilevel.learners import AbstractLearner
from bilevel.results import CONVERGED
from bilevel.tools import concrete, stop_gradient, worst

from .._arguments import balance_argument
from .._hash import row_hash
from ._inspection import Inspection, quota_gaps, reweighed
from ._quotas import BALANCE, by_quota, class_of
from ._sanitiser import AbstractHardSanitiser, mask_of
from ._selection import no_worse
from ._sets import groups_of, others, sum_by_group, told_apart


def errors(y: Real[Array, " n"], f: Float[Array, " n"]) -> Float[Array, " n"]:
    """1 where a decision is not on the side of its label, -1 or +1."""
    return (y.astype(f.dtype) * f <= 0).astype(f.dtype)


class Roni(AbstractHardSanitiser):
    """Drops rows with which small models are worse than without.

    For each row, `draws` times: train on `train` others, with the row and without it, and judge
    both models on `validation` further ones. The row goes if its impact, the mean rise of the loss,
    exceeds `tolerance`; of each class the rows of least impact stay in any case, `balance` times
    the share kept of the others. A row that changes no decision is kept. The score is the impact. A
    training that fails is a failure of the whole.

    - `judge`: loss of rows by label and decision: by default the share of errors, as published;
      `losses.Squares()` for regression. `tolerance` is in its units.

    Every row has sets of its own: those behind it when all rows are put in an order, another for
    each draw, that depends on `seed` and on their content alone. A set of labels of one sign gets
    the next row of the other in exchange for its last. Sets are drawn from the rows to be judged,
    poison among them. Equal rows are tried apart, and judged by the mean of all their trials.

    A tolerance of zero drops many clean rows (of 1,000 clean mails 28 to 45 %): chance alone makes
    an impact. Choose it as the score that few rows of data known to be clean exceed. Stops rows
    that do much harm on their own, such as mails of all words, while they are few (the sets hold
    them too); poison whose rows do little each passes, as most of what is optimised against
    logistic regression does. Rows kept carry the derivative of the defended learner; which are kept
    has none, and jumps: a row that moves at all is tried with other rows. There is no smooth
    surrogate.
    """

    learner: AbstractLearner
    draws: int
    train: int
    validation: int
    tolerance: Float[Array, ""]
    judge: Callable[[Array, Array], Array]
    seed: int
    balance: float

    def __init__(
        self,
        learner: AbstractLearner,
        draws: int = 5,
        train: int = 20,
        validation: int = 50,
        tolerance: float | Float[Array, ""] = 0.0,
        judge: Callable[[Array, Array], Array] = errors,
        seed: int = 0,
        balance: float = BALANCE,
    ):
        if draws < 1 or train < 2 or validation < 1:
            raise ValueError(
                f"draws, train, validation: got {draws}, {train}, {validation}, expected at least "
                "1, 2, 1"
            )
        self.learner, self.draws, self.train, self.validation = learner, draws, train, validation
        self.tolerance, self.judge, self.seed = jnp.asarray(tolerance, float), judge, seed
        self.balance = balance_argument(balance)

    @eqx.filter_jit
    def inspect(self, data, *, key=None):
        given, learner = stop_gradient(data), stop_gradient(self.learner)
        used = given.weight > 0

        def impact(row: Int[Array, ""], others: Int[Array, " k"]) -> tuple[Array, Array]:
            rows, held = jnp.append(others[: self.train], row), others[self.train :]
            both = Data(given.x[rows], given.y[rows], given.weight[rows])
            alone = reweighed(both, jnp.ones_like(both.weight).at[-1].set(0))
            without = learner.fit(alone, key=key, throw=False)
            joined = learner.fit(both, without.warm, key=key, throw=False)
            x, y, weight = given.x[held], given.y[held], given.weight[held]
            rise = self.judge(y, joined.model.decision(x)) - self.judge(
                y, without.model.decision(x)
            )
            code = jnp.where(used[row], worst(without.result, joined.result), CONVERGED)
            return jnp.sum(weight * rise) / jnp.sum(weight), code

        def drawn(seed: Array) -> tuple[Array, Array]:
            hashes = row_hash(given.x, given.y, seed)
            return hashes, self._others(told_apart(hashes, used), given)

        seeds = [seed % 2**32 for seed in draw_seeds(self.draws, self.seed)]
        hashes, sets = jax.vmap(drawn)(jnp.asarray(seeds, jnp.uint32))
        rows = jnp.tile(jnp.arange(data.rows), self.draws)
        impacts, codes = batch(impact)(rows, sets.reshape(rows.size, -1))
        score = mean_impact(impacts.reshape(self.draws, data.rows), used, hashes[0])
        limit = lax.stop_gradient(self.tolerance).astype(score.dtype)
        group, harmless = class_of(given, learner.loss), no_worse(score, limit, used)
        keep = by_quota(score, harmless, used, group, self.balance)
        margin = quota_gaps(jnp.abs(score - limit), score, harmless, keep, used, group)
        kept = reweighed(data, mask_of(keep, data.weight))
        return Inspection(
            kept, score, jnp.int32(2 * rows.size), jnp.max(codes), margin, group=group
        )

    def _others(self, hashes: UInt[Array, " n"], data: Data) -> Int[Array, "n k"]:
        """The rows that each row is tried with: `train`, and behind them `validation`."""
        positive = data.targets() > 0
        signs = jnp.stack([positive, ~positive])
        return others(hashes, data.weight > 0, signs, self.train, self.validation)

    def check(self, data):
        self.learner.check(data)
        used = int(np.sum(np.asarray(data.weight) > 0)) if concrete(data.weight) else data.rows
        wanted = self.train + self.validation + 1
        if used < wanted:
            raise ValueError(
                f"weight: got {used} rows of weight > 0, expected {wanted} at least: a row, the "
                f"{self.train} and the {self.validation} it is tried with; lower train, validation"
            )

    def prepare(self, data):
        """Itself: small sets of rows do not begin with the rows that a learner would keep."""
        del data
        return self


def draw_seeds(draws: int, seed: int) -> list[int]:
    """The seeds of the hashes that order the rows, one per draw."""
    return [draws * seed + draw for draw in range(draws)]


def mean_impact(impacts: Any, used: Any, hashes: Any) -> Any:
    """Mean over the draws (k, n) and over rows of equal hashes (n,), of which those used count, a
    mask of rows or of trials. NumPy's and JAX's arrays alike.
    """
    xp = impacts.__array_namespace__()
    equal = groups_of(hashes)
    counts = xp.astype(xp.broadcast_to(used, impacts.shape), impacts.dtype)
    rise, trials = (
        sum_by_group(xp.sum(each, axis=0), equal)[equal] for each in (counts * impacts, counts)
    )
    return rise / xp.where(trials > 0, trials, xp.ones_like(trials))
