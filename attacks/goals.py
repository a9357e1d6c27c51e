"""Goals: what an attacker maximises, as a number per model."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from bilevel import Data
from bilevel.learners import AbstractModel


class AbstractGoal(eqx.Module):
    """The outer objective: model -> scalar."""

    @abc.abstractmethod
    def check(self, data: Data) -> None:
        """ValueError with a sentence if this goal does not fit the training data."""

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

    data: Data
    loss: Callable[[Array, Array], Array]

    def check(self, data: Data) -> None:
        if self.data.rows == 0:
            raise ValueError("x_val: got no rows, expected a validation set to raise the loss on")
        if self.data.x.shape[1] != data.x.shape[1]:
            raise ValueError(
                f"x_val: got {self.data.x.shape[1]} features, expected {data.x.shape[1]}, "
                "those of the training rows"
            )

    def score(self, model):
        loss = self.loss(self.data.y, model.decision(self.data.x))
        return jnp.sum(self.data.weight * loss) / jnp.sum(self.data.weight)

    def kinks(self, model):
        where = getattr(self.loss, "kinks", None)
        if where is None:
            return jnp.zeros(0, self.data.x.dtype)
        return where(self.data.y, model.decision(self.data.x))


def indiscriminate(x_val, y_val, loss=None) -> Indiscriminate:
    """Raise the mean validation loss (hinge by default) of whatever is trained."""
    return Indiscriminate(Data(x_val, y_val), Hinge() if loss is None else loss)
