"""The LASSO and the elastic net, also as classifiers."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from .. import penalties
from .._data import Data
from .._solver import AbstractSolver
from ..derivatives import AbstractDerivative, Implicit
from ..losses import Squares
from ..problems import PenalisedLeastSquares
from ..solvers import WorkingSet
from ._checks import require_table, require_weights, strength, validity
from ._learner import AbstractLearner
from ._linear_model import LinearModel
from ._training import Training
from .kernels import Linear


class AbstractSparseLearner(AbstractLearner):
    """Penalised least squares with an intercept, eliminated by centring with the weighted means."""

    solver: eqx.AbstractVar[AbstractSolver]
    derivative: eqx.AbstractVar[AbstractDerivative]

    @abc.abstractmethod
    def penalty(self) -> penalties.AbstractKink:
        """The penalty on w, added to the weighted mean of half the squares."""

    @property
    def loss(self):
        return Squares()

    def check(self, data: Data) -> None:
        require_table(data)
        require_weights(data)

    def prepare_rows(self, x):
        return Linear().prepare(x, x)

    def training(self, data, *, key=None):
        del key
        share = data.weight / jnp.sum(data.weight)
        y = data.targets()
        x_mean, y_mean = share @ data.x, share @ y
        problem = PenalisedLeastSquares(data.x - x_mean[None, :], y - y_mean, self.penalty(), share)
        return Training(
            data, problem, eqx.Partial(_model, x_mean, y_mean), result=self.validity(data)
        )

    @abc.abstractmethod
    def validity(self, data: Data) -> Int[Array, ""]:
        """The code of data and strengths that `check` refuses; it also sees traced values."""


def _model(x_mean: Float[Array, " d"], y_mean: Float[Array, ""], w: Float[Array, " d"]):
    return LinearModel(w, y_mean - x_mean @ w)


class Lasso(AbstractSparseLearner):
    """min_{w, b} sum_i share_i 1/2 (w'x_i + b - y_i)^2 + l1 |w|_1 (Tibshirani 1996), where share
    is the weights over their sum.

    The bias is not regularised. Targets are any numbers; with labels -1 and +1 it is a
    classifier. Differentiable in rows, targets, weights and l1 while the support stays; the
    certificate reports the margin to its next change.

    - `l1`: strength > 0, scikit-learn's `alpha`. Raises `ValueError` for others.
    - `solver`, `derivative`: how the problem is solved and differentiated.
    """

    l1: Float[Array, ""]
    solver: AbstractSolver
    derivative: AbstractDerivative

    def __init__(
        self,
        l1: ArrayLike = 1.0,
        solver: AbstractSolver | None = None,
        derivative: AbstractDerivative = Implicit(),
    ):
        self.l1 = strength("l1", l1)
        self.solver = WorkingSet() if solver is None else solver
        self.derivative = derivative

    def penalty(self):
        return penalties.L1(self.l1)

    def validity(self, data):
        return validity(data, self.l1)


class ElasticNet(AbstractSparseLearner):
    """The LASSO with l2/2 |w|^2 added (Zou & Hastie 2005).

    - `l1`, `l2`: strengths > 0. With scikit-learn's `alpha` and `l1_ratio` they are
      l1 = alpha * l1_ratio and l2 = alpha * (1 - l1_ratio). Raises `ValueError` for others.
    - `solver`, `derivative`: how the problem is solved and differentiated.
    """

    l1: Float[Array, ""]
    l2: Float[Array, ""]
    solver: AbstractSolver
    derivative: AbstractDerivative

    def __init__(
        self,
        l1: ArrayLike = 0.5,
        l2: ArrayLike = 0.5,
        solver: AbstractSolver | None = None,
        derivative: AbstractDerivative = Implicit(),
    ):
        self.l1, self.l2 = strength("l1", l1), strength("l2", l2)
        self.solver = WorkingSet() if solver is None else solver
        self.derivative = derivative

    def penalty(self):
        return penalties.ElasticNet(self.l1, self.l2)

    def validity(self, data):
        return validity(data, self.l1, self.l2, positive=2)
