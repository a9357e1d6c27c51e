"""Goals made of goals: weighted sums, a level to be reached, a level not to be exceeded."""

import abc
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from bilevel.tools import concrete

from ._goal import AbstractGoal


class Sum(AbstractGoal):
    """sum_i weights_i goals_i. A negative weight lowers that goal; all weights are differentiable.

    - `goals`: one or more. `weights`: one for each, by default ones.

    Raises `ValueError` for another number of weights, NaN and infinity.
    """

    goals: tuple[AbstractGoal, ...]
    weights: Float[Array, " goals"]

    def __init__(
        self, goals: Sequence[AbstractGoal], weights: Sequence[float] | ArrayLike | None = None
    ):
        self.goals = tuple(goals)
        self.weights = jnp.asarray(np.ones(len(self.goals)) if weights is None else weights, float)
        if self.weights.shape != (len(self.goals),) or not self.goals:
            raise ValueError(
                f"weights: got shape {self.weights.shape} for {len(self.goals)} goals, expected "
                "one number for each of one or more goals"
            )
        if concrete(self.weights) and not np.all(np.isfinite(np.asarray(self.weights))):
            raise ValueError(f"weights: got {self.weights}, expected finite numbers")

    def check(self, data):
        for goal in self.goals:
            goal.check(data)

    def prepare(self, learner):
        return eqx.tree_at(lambda s: s.goals, self, tuple(g.prepare(learner) for g in self.goals))

    def score(self, model, world, *, key=None):
        scores = jnp.stack([goal.score(model, world, key=key) for goal in self.goals])
        return self.weights.astype(scores.dtype) @ scores

    def kinks(self, model, world):
        return jnp.concatenate([goal.kinks(model, world) for goal in self.goals])


def _finite(level: float | Array) -> Float[Array, ""]:
    if concrete(level) and not np.isfinite(float(level)):
        raise ValueError(f"level: got {level}, expected a finite number")
    return jnp.asarray(level, float)


class _Levelled(AbstractGoal):
    """Another goal and a finite level of it."""

    goal: AbstractGoal
    level: Float[Array, ""] = eqx.field(converter=_finite)

    def check(self, data):
        self.goal.check(data)

    def prepare(self, learner):
        return eqx.tree_at(lambda s: s.goal, self, self.goal.prepare(learner))

    @abc.abstractmethod
    def cost(self, above: Float[Array, ""]) -> Float[Array, ""]:
        """What a value so far above the level costs."""

    def above(self, model, world, key) -> Float[Array, ""]:
        value = self.goal.score(model, world, key=key)
        return value - self.level.astype(value.dtype)

    def score(self, model, world, *, key=None):
        return -self.cost(self.above(model, world, key))


class Near(_Levelled):
    """-1/2 (goal - level)^2: bring another goal to a level.

    An attacker who hides unfairness from an audit seeks a difference of rates near 0, or a ratio
    near 1.
    """

    def cost(self, above):
        return 0.5 * above**2

    def kinks(self, model, world):
        return self.goal.kinks(model, world)


class AtMost(_Levelled):
    """-1/2 max(0, goal - level)^2: a price for another goal above a level, none below.

    With a large weight in a `Sum` it is a constraint: "no more than one point of accuracy" is
    `AtMost(indiscriminate(x, y, SoftError()), error + 0.01)`. Its slope is continuous; its
    curvature jumps at the level.
    """

    def cost(self, above):
        return 0.5 * jnp.maximum(above, 0) ** 2

    def kinks(self, model, world):
        return jnp.append(self.goal.kinks(model, world), self.above(model, world, None))
