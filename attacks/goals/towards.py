"""Parameters of the attacker's choice as the result of training."""

import jax
import jax.numpy as jnp

from bilevel.learners import AbstractModel

from ._goal import AbstractGoal


class Towards(AbstractGoal):
    """-1/2 |parameters - wanted parameters|^2 (Mei & Zhu, AAAI 2015, "parameter attack").

    - `wanted`: a model of the learner's class, for example `LinearModel(w, bias)`. `score` raises
      `ValueError` for another class or other shapes.
    """

    wanted: AbstractModel

    def score(self, model, world, *, key=None):
        del world, key
        here, there = jax.tree.leaves(model), jax.tree.leaves(self.wanted)
        if jax.tree.map(jnp.shape, here) != jax.tree.map(jnp.shape, there):
            raise ValueError(
                f"wanted: got a {type(self.wanted).__name__} of shapes "
                f"{[leaf.shape for leaf in there]}, expected a {type(model).__name__} of shapes "
                f"{[leaf.shape for leaf in here]}, as the learner returns"
            )
        squares = [jnp.sum((a - b) ** 2) for a, b in zip(here, there, strict=True)]
        return -0.5 * sum(squares[1:], squares[0])
