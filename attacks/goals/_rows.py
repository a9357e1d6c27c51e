"""Base of goals that are mean losses over rows."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, Shaped

from bilevel import Data

from .._world import World
from ._goal import AbstractGoal

Loss = Callable[[Array, Array], Array]


class AbstractRowGoal(AbstractGoal):
    """Weighted mean loss over rows.

    - `x` (n, ...), `y` (n,), `weight` (n,): the rows, their labels and their weights.
    - `loss(y, f) -> (n,)`: of labels and decisions, for example from `bilevel.losses`. A loss with
      kinks has a method `kinks(y, f)`.
    """

    x: eqx.AbstractVar[PyTree]
    y: eqx.AbstractVar[Shaped[Array, " n"]]
    weight: eqx.AbstractVar[Float[Array, " n"]]
    loss: eqx.AbstractVar[Loss]

    @abc.abstractmethod
    def rows(self, world: World, key) -> PyTree:
        """The rows for `model.decision`."""

    def check(self, data: Data) -> None:
        if self.y.shape[0] == 0:
            raise ValueError("x_val: got no rows, expected a validation set")
        if self.x.shape[1:] != data.x.shape[1:]:
            features = self.x.shape[1] if self.x.ndim == 2 else self.x.shape[1:]
            expected = data.x.shape[1] if data.x.ndim == 2 else data.x.shape[1:]
            raise ValueError(
                f"x_val: got {features} features, expected {expected}, as in the training rows"
            )

        check_labels = getattr(self.loss, "check", None)
        if check_labels is not None:
            check_labels(self.y, "y_val")

    def score(self, model, world, *, key=None):
        loss = self.loss(self.y, model.decision(self.rows(world, key)))
        if jnp.shape(loss) != self.y.shape or not jnp.issubdtype(loss.dtype, jnp.floating):
            raise ValueError(
                f"loss: returned {loss.dtype} of shape {jnp.shape(loss)}, expected a floating "
                f"number per row, {self.y.shape}; a loss is a function of labels (n,) and "
                "decisions (n,) or (n, k)"
            )
        weight = self.weight.astype(loss.dtype)  # a head in float64 on images in float32
        return jnp.sum(weight * loss) / jnp.sum(weight)

    def kinks(self, model, world):
        where = getattr(self.loss, "kinks", None)
        if where is None:
            return jnp.zeros(0, self.weight.dtype)
        return where(self.y, model.decision(self.rows(world, None)))
