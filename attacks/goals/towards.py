"""Make training end at parameters of the attacker's choice."""

import jax
import jax.numpy as jnp

from bilevel.learners import AbstractModel

from ._goal import AbstractGoal


class Towards(AbstractGoal):
    """-1/2 |parameters - wanted parameters|^2 (Mei & Zhu, AAAI 2015, "parameter attack").

    `wanted` is a model of the kind that the learner returns, `LinearModel(w, bias)`.
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
