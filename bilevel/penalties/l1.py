"""The l1 norm."""

from jaxtyping import PyTree

from ._penalty import require_strength, spread
from .kink import AbstractKink


class L1(AbstractKink):
    """sum_j strength_j |w_j| (Tibshirani 1996).

    - `strength`: >= 0, a number, an array with one for each unknown, or a tree of these that is a
      prefix of that of the unknowns, `{"weights": lam, "bias": 0.0}`. An unknown of strength zero
      is never dropped.
    """

    strength: PyTree

    def __check_init__(self):
        require_strength("strength", self.strength)

    def flat(self, w):
        return L1(spread(self.strength, w, "strength"))

    def kink(self):
        return -self.strength, self.strength
