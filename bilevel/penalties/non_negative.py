"""Non-negative unknowns, with or without an l1 norm."""

import jax.numpy as jnp
from jaxtyping import PyTree

from ._penalty import spread
from .kink import AbstractKink


class NonNegative(AbstractKink):
    """w_j >= 0, and sum_j strength_j w_j; the strength is given as that of `L1`."""

    strength: PyTree = 0.0

    def flat(self, w):
        return NonNegative(spread(self.strength, w, "strength"))

    def kink(self):
        return jnp.full_like(self.strength, -jnp.inf), self.strength
