"""The contract of goals."""

import abc

import equinox as eqx
from jaxtyping import Array, Float

from bilevel import Data
from bilevel.learners import AbstractLearner, AbstractModel


class AbstractGoal(eqx.Module):
    """The outer objective: model -> scalar."""

    @abc.abstractmethod
    def check(self, data: Data) -> None:
        """ValueError with a sentence if this goal does not fit the training data."""

    @abc.abstractmethod
    def prepare(self, learner: AbstractLearner) -> "AbstractGoal":
        """This goal with what it may compute once, for models of a prepared learner."""

    @abc.abstractmethod
    def score(self, model: AbstractModel) -> Float[Array, ""]:
        """What the attacker maximises."""

    @abc.abstractmethod
    def kinks(self, model: AbstractModel) -> Array:
        """Quantities at whose zeros the score is not differentiable; may be empty."""
