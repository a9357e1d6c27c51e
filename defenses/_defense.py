"""The contract of defenses: a learner that looks at its data first."""

import abc

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from bilevel import Data, Solution
from bilevel.learners import AbstractLearner


class Inspection(eqx.Module):
    """What a defense made of the rows it was given.

    - `data`: the rows as the learner sees them: weights lowered (0: dropped) or labels changed.
    - `score`: what the rows were judged by, larger is worse; NaN where none was needed.
    - `trainings`: how often the learner was trained for it.
    """

    data: Data
    score: Float[Array, " n"]
    trainings: Int[Array, ""]

    @property
    def kept(self) -> Bool[Array, " n"]:
        """Rows that still count."""
        return self.data.weight > 0

    def message(self, given: Data) -> str:
        """One sentence on (concrete) `given`, the rows that were inspected: how many were dropped
        or relabelled, and whether anything sets them apart.
        """
        used, kept = np.asarray(given.weight) > 0, np.asarray(self.kept)
        relabelled = int(np.sum(np.asarray(given.y) != np.asarray(self.data.y)))
        dropped = used & ~kept
        said = f"kept {int(np.sum(used & kept))} of {int(np.sum(used))} rows"
        said += f", relabelled {relabelled}" if relabelled else ""
        said += f"; {int(self.trainings)} trainings"
        score = np.asarray(self.score)
        some = dropped.any() and (used & kept).any()
        if some and (score[used] > 0).all():  # and none is NaN
            gap = float(score[dropped].min() / score[used & kept].max())
            said += (
                f"; the least suspect row dropped scores {gap:.3g} times the most suspect one kept"
            )
            if gap < 1.5:
                said += (
                    ": no gap, so that clean rows are likely among the dropped. What that costs, "
                    "retraining on rows known to be clean tells"
                )
        return said


class AbstractDefense(AbstractLearner):
    """A learner that trains another one on what it makes of the data.

    Being a learner it is attacked, differentiated and defended again like any other:
    `Filter(Trim(learner))` filters, then trims.
    """

    learner: eqx.AbstractVar[AbstractLearner]

    @abc.abstractmethod
    def inspect(self, data: Data) -> Inspection:
        """The rows as the learner is to see them. Pure; it depends on no order of the rows."""

    @property
    def solver(self):
        return self.learner.solver

    @property
    def loss(self):
        return self.learner.loss

    def check(self, data: Data) -> None:
        self.learner.check(data)

    def problem(self, data: Data) -> PyTree:
        return self.learner.problem(self.inspect(data).data)

    def model(self, data: Data, value: PyTree):
        return self.learner.model(self.inspect(data).data, value)

    def kinks(self, data: Data) -> Float[Array, " k"]:
        return self.learner.kinks(self.inspect(data).data)

    def prepare(self, data: Data) -> "AbstractDefense":
        return eqx.tree_at(lambda s: s.learner, self, self.learner.prepare(data))

    def prepare_rows(self, x):
        return self.learner.prepare_rows(x)

    def solve(self, data: Data, warm: PyTree | None = None, *, throw: bool = True) -> Solution:
        self.check(data)
        return self.learner.solve(self.inspect(data).data, warm, throw=throw)


def reweighed(data: Data, keep: Float[Array, " n"]) -> Data:
    """The data with weights multiplied."""
    return eqx.tree_at(lambda d: d.weight, data, data.weight * keep)


def gaps(
    score: Float[Array, " n"], kept: Bool[Array, " n"], used: Bool[Array, " n"]
) -> Float[Array, " n"]:
    """How far each score is from the threshold between kept and dropped; infinite without one."""
    most = jnp.max(jnp.where(used & kept, score, -jnp.inf))
    least = jnp.min(jnp.where(used & ~kept, score, jnp.inf))
    return jnp.where(
        used & jnp.isfinite(most + least), jnp.abs(score - 0.5 * (most + least)), jnp.inf
    )
