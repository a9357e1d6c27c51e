"""The elastic net."""

from jaxtyping import PyTree

from ._penalty import require_strength, spread
from .kink import AbstractKink


class ElasticNet(AbstractKink):
    """sum_j l1_j |w_j| + 1/2 l2_j w_j^2 (Zou & Hastie 2005).

    - `l1`, `l2`: strengths >= 0, of the forms of `L1`'s. With scikit-learn's `alpha` and `l1_ratio`
      they are l1 = alpha * l1_ratio and l2 = alpha * (1 - l1_ratio).
    """

    l1: PyTree
    l2: PyTree

    def __check_init__(self):
        require_strength("l1", self.l1)
        require_strength("l2", self.l2)

    def flat(self, w):
        return ElasticNet(spread(self.l1, w, "l1"), spread(self.l2, w, "l2"))

    def kink(self):
        return -self.l1, self.l1

    def bend(self):
        return self.l2
