"""The contract of goals."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from bilevel import Data
from bilevel.learners import AbstractLearner, AbstractModel

from .._world import World


class AbstractGoal(eqx.Module):
    """The outer objective: (model, world) -> scalar. A goal of one's own needs `score` alone."""

    @abc.abstractmethod
    def score(
        self, model: AbstractModel, world: World, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, ""]:
        """What the attacker maximises: of the trained model, and of what z made of the data."""

    def check(self, data: Data) -> None:
        """ValueError with a sentence if this goal does not fit the training data."""

    def prepare(self, learner: AbstractLearner) -> "AbstractGoal":
        """This goal with what it may compute once, for models of a prepared learner; itself by
        default.
        """
        del learner
        return self

    def kinks(self, model: AbstractModel, world: World) -> Array:
        """Quantities at whose zeros the score is not differentiable; none by default."""
        del world
        return jnp.zeros(0, jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))[0].dtype)
