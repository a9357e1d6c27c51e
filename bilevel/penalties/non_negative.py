"""Non-negative unknowns, with or without an l1 norm."""

import jax.numpy as jnp
from jaxtyping import PyTree

from ._penalty import require_strength, spread
from .kink import AbstractKink


class NonNegative(AbstractKink):
    """sum_j strength_j w_j, subject to w_j >= 0.

    - `strength`: >= 0, of the forms of `L1`'s.
    """

    strength: PyTree = 0.0

    def __check_init__(self):
        require_strength("strength", self.strength)

    def flat(self, w):
        return NonNegative(spread(self.strength, w, "strength"))

    def kink(self):
        return jnp.full_like(self.strength, -jnp.inf), self.strength
