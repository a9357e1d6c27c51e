"""The model that linear learners train."""

from jaxtyping import Array, Float

from ._model import AbstractModel
from .kernels import Linear


class LinearModel(AbstractModel):
    """f(x) = x'w + bias, for weights w (d,) and a bias ()."""

    w: Float[Array, " d"]
    bias: Float[Array, ""]

    @property
    def kernel(self) -> Linear:
        """The kernel whose functions, and a bias, such models are."""
        return Linear()

    def decision(self, x, *, key=None):
        del key
        return x @ self.w + self.bias
