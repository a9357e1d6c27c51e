"""Goals: what an attacker maximises, as a number per model."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

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


class Hinge(eqx.Module):
    """max(0, 1 - y f)."""

    def __call__(self, y, f):
        return jnp.maximum(0, 1 - y * f)

    def kinks(self, y, f):
        return 1 - y * f


class Logistic(eqx.Module):
    """log(1 + exp(-y f))."""

    def __call__(self, y, f):
        return jnp.logaddexp(0, -y * f)

    def kinks(self, y, f):
        return jnp.zeros(0, f.dtype)


class Indiscriminate(AbstractGoal):
    """Mean loss over validation rows: make the model wrong wherever.

    `loss(y, f)` is any function of labels and decisions, both (n,); one with kinks says where by
    a method `kinks(y, f)`.
    """

    x: PyTree  # (n, d), or as the learner prepared it
    y: Float[Array, " n"]
    weight: Float[Array, " n"]
    loss: Callable[[Array, Array], Array]

    def check(self, data: Data) -> None:
        if self.y.shape[0] == 0:
            raise ValueError("x_val: got no rows, expected a validation set to raise the loss on")
        if self.x.shape[1] != data.x.shape[1]:
            raise ValueError(
                f"x_val: got {self.x.shape[1]} features, expected {data.x.shape[1]}, "
                "those of the training rows"
            )

    def prepare(self, learner):
        return eqx.tree_at(lambda g: g.x, self, learner.prepare_rows(self.x))

    def score(self, model):
        loss = self.loss(self.y, model.decision(self.x))
        return jnp.sum(self.weight * loss) / jnp.sum(self.weight)

    def kinks(self, model):
        where = getattr(self.loss, "kinks", None)
        if where is None:
            return jnp.zeros(0, self.y.dtype)
        return where(self.y, model.decision(self.x))


def indiscriminate(x_val, y_val, loss=None) -> Indiscriminate:
    """Raise the mean validation loss (hinge by default) of whatever is trained."""
    data = Data(x_val, y_val)
    return Indiscriminate(data.x, data.y, data.weight, Hinge() if loss is None else loss)
