"""Logistic regression of two classes."""

from jaxtyping import Array, ArrayLike, Float

from .. import losses
from .._data import Data
from .._solver import AbstractSolver
from ..derivatives import AbstractDerivative, Implicit
from ._checks import require_classes, strength, validity
from ._linear_fit import AbstractLinearLearner, Known, LinearNewton


class Logistic(AbstractLinearLearner):
    """min_{w, b} sum_i share_i log(1 + exp(-y_i (w'x_i + b))) + l2/2 |w|^2 + l2_bias/2 b^2,
    where share is the weights over their sum.

    Labels are -1 and +1. Differentiable in rows, weights and both strengths, and in labels as
    numbers.

    - `l2`: strength > 0. scikit-learn's `C` is 1 / (l2 times the sum of the weights).
    - `l2_bias`: strength >= 0 for the bias; liblinear uses `l2_bias = l2`.
    - `solver`, `derivative`: how the problem is solved and differentiated.

    Raises `ValueError` for a strength out of range; `fit` raises it for other labels or one class.
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

    def check(self, data: Data) -> None:
        super().check(data)
        require_classes(data)

    def validity(self, data):
        return validity(data, self.l2, self.l2_bias, signs=True)

    @property
    def loss(self):
        return losses.Logistic()
