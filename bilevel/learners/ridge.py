"""Ridge regression, also as a classifier."""

from jaxtyping import Array, ArrayLike, Float

from .._solver import AbstractSolver
from ..derivatives import AbstractDerivative, Implicit
from ..losses import Squares
from ._checks import strength
from ._linear_fit import AbstractLinearLearner, Known, LinearNewton


class Ridge(AbstractLinearLearner):
    """min_{w, b} sum_i share_i 1/2 (w'x_i + b - y_i)^2 + l2/2 |w|^2 + l2_bias/2 b^2
    (Hoerl & Kennard 1970), where share is the weights over their sum.

    Targets are any numbers; with labels -1 and +1 it is a classifier. Differentiable in rows,
    targets, weights and both strengths. One Cholesky factor, of size d + 1 or, for d > n, of the
    Gram matrix, gives the solution and the answer for every cotangent.

    - `l2`: strength > 0. scikit-learn's `alpha` is l2 times the sum of the weights.
    - `l2_bias`: strength >= 0 for the bias.
    - `solver`, `derivative`: how the problem is solved and differentiated.

    Raises `ValueError` for a strength out of range.
    """

    l2: Float[Array, ""]
    l2_bias: Float[Array, ""]
    solver: AbstractSolver
    derivative: AbstractDerivative
    known: Known | None

    def __init__(
        self,
        l2: ArrayLike = 1.0,
        l2_bias: ArrayLike = 0.0,
        solver: AbstractSolver | None = None,
        derivative: AbstractDerivative = Implicit(),
    ):
        self.l2 = strength("l2", l2)
        self.l2_bias = strength("l2_bias", l2_bias, zero=True)
        self.solver = LinearNewton() if solver is None else solver
        self.derivative, self.known = derivative, None

    @property
    def loss(self):
        return Squares()
