"""Reject on negative impact (Nelson et al., "Exploiting machine learning to subvert your spam
filter", LEET 2008, section 5.1).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, UInt

from bilevel import Data, argmin, batch
from bilevel.learners import AbstractLearner
from bilevel.tools import concrete, stop_gradient

from ._defense import AbstractDefense, Inspection, reweighed
from ._hash import mix, row_hash
from ._selection import mask_of


def errors(y: Float[Array, " n"], f: Float[Array, " n"]) -> Float[Array, " n"]:
    """1 where a decision is not on the side of its label, -1 or +1."""
    return (y * f <= 0).astype(f.dtype)


class Roni(AbstractDefense):
    """Drops rows with which small models are worse than without.

    For each row, `draws` times: train on `train` others, with the row and without it, and judge
    both models on `validation` further ones. The row goes if its impact, the mean rise of the loss,
    exceeds `tolerance`. A row that changes no decision is kept; a draw whose training fails does
    not count. The score is the impact.

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
    has none, and jumps: a row that moves at all is tried with other rows.
    """

    learner: AbstractLearner
    draws: int
    train: int
    validation: int
    tolerance: Float[Array, ""]
    judge: Callable[[Array, Array], Array]
    seed: int

    def __init__(
        self,
        learner: AbstractLearner,
        draws: int = 5,
        train: int = 20,
        validation: int = 50,
        tolerance: float | Float[Array, ""] = 0.0,
        judge: Callable[[Array, Array], Array] = errors,
        seed: int = 0,
    ):
        if draws < 1 or train < 2 or validation < 1:
            raise ValueError(
                f"draws, train, validation: got {draws}, {train}, {validation}, expected at least "
                "1, 2, 1"
            )
        self.learner, self.draws, self.train, self.validation = learner, draws, train, validation
        self.tolerance, self.judge, self.seed = jnp.asarray(tolerance, float), judge, seed

    def inspect(self, data: Data) -> Inspection:
        data_, learner = stop_gradient(data), stop_gradient(self.learner)

        def trained(subset: Data, x: Array, warm) -> tuple[Array, Array]:
            found = argmin(learner.problem(subset), warm, solver=learner.solver, throw=False)
            f = learner.model(subset, found.value).decision(x)
            return jnp.where(found.result == 0, f, jnp.nan), found.warm

        def impact(row: Int[Array, ""], others: Int[Array, " k"]) -> Float[Array, ""]:
            rows, held = jnp.append(others[: self.train], row), others[self.train :]
            both = Data(data_.x[rows], data_.y[rows], data_.weight[rows])
            alone = reweighed(both, jnp.ones_like(both.y).at[-1].set(0))
            x, y, weight = data_.x[held], data_.y[held], data_.weight[held]
            f, warm = trained(alone, x, None)
            f_with, _ = trained(both, x, warm)
            rise = self.judge(y, f_with) - self.judge(y, f)
            rise = jnp.where(jnp.isnan(f + f_with), jnp.nan, rise)
            return jnp.sum(weight * rise) / jnp.sum(weight)

        seeds = [self.draws * self.seed + draw for draw in range(self.draws)]
        hashes = [row_hash(data_.x, data_.y, seed) for seed in seeds]
        others = jnp.concatenate([self._others(told_apart(h), data_) for h in hashes])
        rows = jnp.tile(jnp.arange(data.rows), self.draws)
        impacts = batch(impact)(rows, others).reshape(self.draws, data.rows)
        counts = ~jnp.isnan(impacts) & (data_.weight > 0)[None, :]
        equal = groups(hashes[0])
        rise, trials = (
            jax.ops.segment_sum(jnp.sum(each, axis=0), equal, data.rows)[equal]
            for each in (jnp.where(counts, impacts, 0), counts.astype(impacts.dtype))
        )
        score = rise / trials  # NaN without any
        # An impact that is none but for rounding is none: no order of the rows may decide.
        least = lax.stop_gradient(self.tolerance).astype(score.dtype)
        keep = ~(score > least + 64 * jnp.finfo(score.dtype).eps)
        trainings = jnp.int32(2 * rows.size)
        return Inspection(reweighed(data, mask_of(keep, data.weight)), score, trainings)

    def _others(self, hashes: UInt[Array, " n"], data: Data) -> Int[Array, "n k"]:
        """The rows that each row is tried with: `train`, and behind them `validation`."""
        used = data.weight > 0
        order = jnp.lexsort((hashes, ~used))  # rows by place; those of weight 0 are not drawn
        many, place = jnp.sum(used), jnp.arange(data.rows)
        steps = jnp.arange(1, self.train + self.validation + 1)[None, :]
        positive = data.y[order] > 0
        for sign in (positive, ~positive):
            # If the first of this sign comes behind the training set, it and the last there change
            # places: no row is drawn twice.
            next_ = next_place(sign, many)[:, None]
            alone = (next_ > self.train) & (next_ < many)
            steps = jnp.where(alone & (steps == next_), self.train, steps)
            last = jnp.arange(steps.shape[1])[None, :] == self.train - 1
            steps = jnp.where(alone & last, next_, steps)
        return order[(place[:, None] + steps) % many][jnp.argsort(order)]

    def check(self, data: Data) -> None:
        self.learner.check(data)
        used = int(jnp.sum(data.weight > 0)) if concrete(data.weight) else data.rows
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


def next_place(wanted: Bool[Array, " n"], many: Int[Array, ""]) -> Int[Array, " n"]:
    """How many places behind each of the first `many` the next wanted one is, in a ring of them;
    2n or more if there is none.
    """
    n = wanted.shape[0]
    place = jnp.arange(2 * n + 1)
    found = lax.cummin(jnp.where(wanted[place % many], place, 4 * n), reverse=True)
    return found[1 : n + 1] - place[:n]


def groups(hashes: UInt[Array, " n"]) -> Int[Array, " n"]:
    """A number for each row, the same for rows of equal hashes: how many hashes are smaller."""
    return jnp.searchsorted(jnp.sort(hashes), hashes)


def told_apart(hashes: UInt[Array, " n"]) -> UInt[Array, " n"]:
    """Hashes that differ for equal rows too: otherwise those would lie next to each other, and be
    tried with each other. Which of them gets which does not matter.
    """
    place = jnp.argsort(jnp.argsort(hashes, stable=True), stable=True)
    number = place.astype(jnp.uint32) - groups(hashes).astype(jnp.uint32)
    return mix(hashes + mix(number))
