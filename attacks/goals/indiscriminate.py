"""Make the model wrong wherever."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from bilevel import Data
from bilevel.losses import Hinge

from ._goal import AbstractGoal

Loss = Callable[[Array, Array], Array]


class Indiscriminate(AbstractGoal):
    """Mean loss over validation rows.

    `loss(y, f)` is any function of labels and decisions, a number per row (`bilevel.losses` has
    the usual ones); one with kinks says where by a method `kinks(y, f)`.
    """

    x: PyTree  # (n, d), or as the learner prepared it
    y: Float[Array, " n"]
    weight: Float[Array, " n"]
    loss: Loss

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


def indiscriminate(x_val, y_val, loss: Loss | None = None) -> Indiscriminate:
    """Raise the mean validation loss (hinge by default) of whatever is trained."""
    data = Data(x_val, y_val)
    return Indiscriminate(data.x, data.y, data.weight, Hinge() if loss is None else loss)
