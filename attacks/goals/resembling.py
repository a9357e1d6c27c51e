"""Poison rows that stay near given ones, for a price in place of a limit."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from bilevel.tools import require_finite

from ._goal import AbstractGoal, require_alike


class Resembling(AbstractGoal):
    """-mean_j |poison_j - x_j|^2, in `Sum([collide, Resembling(base)], [1, beta])` the penalty of
    Poison Frogs (Shafahi et al., NeurIPS 2018).

    - `x` (m, ...): one row for each poison row, in their order; otherwise `score` raises
      `ValueError`.
    """

    x: Float[Array, "m ..."]

    def check(self, data):
        require_finite(x=self.x)
        require_alike(self.x, data)

    def score(self, model, world, *, key=None):
        del model, key
        poison = jnp.zeros(0) if world.poison is None else world.poison.x
        if poison.shape != self.x.shape:
            raise ValueError(
                f"x: got {self.x.shape[0]} rows for {poison.shape[0]} poison rows, expected one "
                "for each"
            )
        apart = poison - self.x.astype(poison.dtype)
        return -jnp.mean(jnp.sum(apart.reshape(len(apart), -1) ** 2, axis=1))
