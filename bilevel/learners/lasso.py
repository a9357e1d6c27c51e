"""The LASSO and the elastic net, also as classifiers."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .. import penalties
from .._solver import AbstractSolver
from ..data import Data
from ..losses import Squares
from ..problems import PenalisedLeastSquares
from ..solvers import WorkingSet
from ._checks import require_weights, strength
from ._learner import AbstractLearner
from ._linear_model import LinearModel
from .kernels import Linear


class AbstractSparseLearner(AbstractLearner):
    """Penalised squares with an intercept, which centring by the weighted means solves for."""

    solver: eqx.AbstractVar[AbstractSolver]

    @abc.abstractmethod
    def penalty(self) -> penalties.AbstractKink:
        """What is added to the weighted mean of half the squares."""

    @property
    def loss(self):
        return Squares()

    def check(self, data: Data) -> None:
        require_weights(data)

    def prepare(self, data):
        """Itself: which products a working set needs is known only after the poison."""
        del data
        return self

    def prepare_rows(self, x):
        return Linear().prepare(x, x)

    def problem(self, data: Data) -> PenalisedLeastSquares:
        share, x_mean, y_mean = _means(data)
        return PenalisedLeastSquares(
            data.x - x_mean[None, :], data.y - y_mean, self.penalty(), share
        )

    def model(self, data: Data, value: Float[Array, " d"]) -> LinearModel:
        _, x_mean, y_mean = _means(data)
        return LinearModel(value, y_mean - x_mean @ value)


class Lasso(AbstractSparseLearner):
    """min_{w, b} sum_i share_i 1/2 (w'x_i + b - y_i)^2 + l1 |w|_1 (Tibshirani 1996), where share
    is the weights over their sum.

    The bias is not regularised. Targets are any numbers; with labels -1 and +1 it is a
    classifier. Differentiable in rows, targets, weights and l1 while the support stays; the
    certificate reports the margin to its next change. `l1` is scikit-learn's `alpha`.
    """

    l1: Float[Array, ""]
    solver: AbstractSolver

    def __init__(self, l1=1.0, solver: AbstractSolver | None = None):
        self.l1 = strength("l1", l1)
        self.solver = WorkingSet() if solver is None else solver

    def penalty(self):
        return penalties.L1(self.l1)


class ElasticNet(AbstractSparseLearner):
    """The LASSO with l2/2 |w|^2 added (Zou & Hastie 2005).

    scikit-learn's `alpha` and `l1_ratio` are l1 = alpha * l1_ratio, l2 = alpha * (1 - l1_ratio).
    """

    l1: Float[Array, ""]
    l2: Float[Array, ""]
    solver: AbstractSolver

    def __init__(self, l1=0.5, l2=0.5, solver: AbstractSolver | None = None):
        self.l1, self.l2 = strength("l1", l1), strength("l2", l2)
        self.solver = WorkingSet() if solver is None else solver

    def penalty(self):
        return penalties.ElasticNet(self.l1, self.l2)


def _means(data: Data) -> tuple[Array, Array, Array]:
    share = data.weight / jnp.sum(data.weight)
    return share, share @ data.x, share @ data.y
