"""The output of one unit of a network, for triggers that a unit answers to."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from bilevel.learners import AbstractDeepModel

from ._goal import AbstractGoal, require_alike


class Unit(AbstractGoal):
    """Mean output of a unit over rows, as the capability presents them: with a `Stamp`, the first
    half of trojaning (Liu et al., NDSS 2018).

    - `x` (n, ...): the rows.
    - `layer`: its name among the activations of the network.
    - `index`: of the unit in its layer, flattened.

    `score` raises `ValueError` for a layer or a unit that the network has not.
    """

    x: Float[Array, "n ..."]
    layer: str
    index: int

    def check(self, data):
        require_alike(self.x, data)

    def score(self, model, world, *, key=None):
        rows = world.shown(self.x, key=key)
        layers = model.activations(rows) if isinstance(model, AbstractDeepModel) else {}
        if self.layer not in layers:
            raise ValueError(
                f"layer: got {self.layer!r}, expected one of {list(layers)}, the layers whose "
                "outputs the model reports"
            )
        outputs = layers[self.layer].reshape(rows.shape[0], -1)
        if not 0 <= self.index < outputs.shape[1]:
            raise ValueError(
                f"index: got {self.index}, expected 0 to {outputs.shape[1] - 1}, a unit of "
                f"{self.layer!r}"
            )
        return jnp.mean(outputs[:, self.index])
