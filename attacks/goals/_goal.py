"""The interface of goals."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from bilevel import Data
from bilevel.learners import AbstractLearner, AbstractModel

from .._world import World


class AbstractGoal(eqx.Module):
    """An outer objective (model, world) -> scalar. A subclass implements `score`."""

    @abc.abstractmethod
    def score(
        self, model: AbstractModel, world: World, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, ""]:
        """The number that the attacker maximises. `key`: for goals with randomness."""

    def check(self, data: Data) -> None:
        """ValueError, with a sentence, if this goal does not match the training data."""

    def prepare(self, learner: AbstractLearner) -> "AbstractGoal":
        """This goal with computations done once, for models of a prepared learner; by default
        itself.
        """
        del learner
        return self

    def kinks(self, model: AbstractModel, world: World) -> Array:
        """Quantities at whose zeros the score is not differentiable; by default empty."""
        del world
        return jnp.zeros(0, jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))[0].dtype)


def require_alike(x: Float[Array, "n ..."], data: Data, name: str = "x") -> None:
    """ValueError unless the rows x of a goal have the shape of the training rows."""
    if x.shape[1:] != data.x.shape[1:]:
        raise ValueError(
            f"{name}: got rows of shape {x.shape[1:]}, expected {data.x.shape[1:]}, as in the "
            "training rows"
        )
