"""The mean validation loss, for indiscriminate attacks."""

import equinox as eqx
from jaxtyping import Array, Float, PyTree, Shaped

from bilevel import Data
from bilevel.losses import Hinge

from ._rows import AbstractRowGoal, Loss


class Indiscriminate(AbstractRowGoal):
    """Mean loss over validation rows, which the attacker does not change."""

    x: PyTree  # (n, ...), or the result of the learner's `prepare_rows`
    y: Shaped[Array, " n"]
    weight: Float[Array, " n"]
    loss: Loss

    def prepare(self, learner):
        return eqx.tree_at(lambda g: g.x, self, learner.prepare_rows(self.x))

    def rows(self, world, key):
        del world, key
        return self.x


def indiscriminate(x_val, y_val, loss: Loss | None = None) -> Indiscriminate:
    """Raise the mean validation loss of the trained model.

    - `x_val` (n, ...), `y_val` (n,): the validation rows.
    - `loss(y, f) -> (n,)`: `bilevel.losses.Hinge()` by default.

    Raises `ValueError` as `Data` does.
    """
    data = Data(x_val, y_val)
    return Indiscriminate(data.x, data.y, data.weight, Hinge() if loss is None else loss)
