"""Logistic regression under a constraint on fairness (Zafar et al., AISTATS 2017)."""

import abc
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .. import losses
from .._data import Data
from .._solver import AbstractSolver
from .._tree import concrete
from ..derivatives import AbstractDerivative, Implicit
from ..problems import Constrained
from ..solvers import PrimalDual
from ..solvers.constrained._kkt import KKTPoint
from ._checks import require_classes, require_table, require_weights, strength, validity
from ._learner import AbstractLearner
from ._linear_model import LinearModel
from ._training import Training
from ._units import Units, units


class AbstractLimit(eqx.Module):
    """What the covariances (g,) of groups and decision must satisfy."""

    @abc.abstractmethod
    def equalities(self, covariances: Float[Array, " g"]) -> Array:
        """To be zero; may be empty."""

    @abc.abstractmethod
    def inequalities(self, covariances: Float[Array, " g"]) -> Array:
        """To be at most zero; may be empty."""

    @abc.abstractmethod
    def strengths(self) -> tuple[Float[Array, ""], ...]:
        """Numbers that must be > 0."""


class Equal(AbstractLimit):
    """Zero: rows of the group and the others have the same mean decision."""

    def equalities(self, covariances):
        return covariances

    def inequalities(self, covariances):
        return covariances[:0]

    def strengths(self):
        return ()


class Within(AbstractLimit):
    """At most `most` in magnitude, > 0; in units of the decision."""

    most: Float[Array, ""] = eqx.field(converter=lambda value: strength("most", value))

    def equalities(self, covariances):
        return covariances[:0]

    def inequalities(self, covariances):
        most = self.most.astype(covariances.dtype)
        return jnp.concatenate([covariances - most, -covariances - most])

    def strengths(self):
        return (self.most,)


class _Fit(eqx.Module):
    """The arrays of the problem; x and covariances are in `units`."""

    x: Float[Array, "n d"]
    y: Float[Array, " n"]
    share: Float[Array, " n"]
    moments: Float[Array, "g d"]  # sum_i share_i (group_i - mean group) x_i
    l2: Float[Array, ""]
    l2_bias: Float[Array, ""]
    limit: AbstractLimit
    units: Units


class FairLogistic(AbstractLearner):
    """min_{w, b} sum_i share_i log(1 + exp(-y_i (w'x_i + b))) + l2/2 |w|^2 + l2_bias/2 b^2 subject
    to a limit on sum_i share_i (a_i - mean a)(w'x_i + b) for each protected feature a, where share
    is the weights over their sum.

    Labels are -1 and +1. Differentiable in rows (their groups too), weights, strengths and the
    limit. The covariance of a group (a is 0 or 1) of share p with the decision is p (1 - p) times
    the difference of mean decisions: decisions are equal on average, rates need not be.

    - `protected`: indices of features: a binary one, or those of a one-hot group but for one. The
      groups of poison rows are read there too.
    - `limit`: `Equal()` or `Within(most)`.
    - `l2`: strength > 0. `l2_bias`: strength >= 0 for the bias.
    - `solver`, `derivative`: how the problem, a `Constrained` one of d + 1 unknowns, is solved and
      differentiated.

    Raises `ValueError` for a strength out of range; `fit` raises it for other labels, one class, a
    feature that there is not, and a protected feature that is constant or follows from the others.
    """

    protected: tuple[int, ...] = eqx.field(static=True)
    limit: AbstractLimit
    l2: Float[Array, ""]
    l2_bias: Float[Array, ""]
    solver: AbstractSolver
    derivative: AbstractDerivative

    def __init__(
        self,
        protected: int | Sequence[int],
        limit: AbstractLimit = Equal(),
        l2: ArrayLike = 1.0,
        l2_bias: ArrayLike = 0.0,
        solver: AbstractSolver = PrimalDual(),
        derivative: AbstractDerivative = Implicit(),
    ):
        features = [protected] if isinstance(protected, int | np.integer) else protected
        self.protected = tuple(int(i) for i in features)
        if not self.protected or len(set(self.protected)) < len(self.protected):
            raise ValueError(f"protected: got {protected}, expected different indices of features")
        self.limit = limit
        self.l2 = strength("l2", l2)
        self.l2_bias = strength("l2_bias", l2_bias, zero=True)
        self.solver, self.derivative = solver, derivative

    @property
    def loss(self):
        return losses.Logistic()

    def check(self, data: Data) -> None:
        require_table(data)
        require_weights(data)
        require_classes(data)
        wrong = [i for i in self.protected if not 0 <= i < data.x.shape[1]]
        if wrong:
            raise ValueError(
                f"protected: got the feature {wrong[0]}, expected 0 to {data.x.shape[1] - 1}"
            )
        if not (concrete(data.x) and concrete(data.weight)):
            return
        groups = np.asarray(data.x)[np.asarray(data.weight) > 0][:, list(self.protected)]
        centred = groups - groups.mean(axis=0)
        if np.linalg.matrix_rank(centred) < len(self.protected):
            raise ValueError(
                f"protected: features {list(self.protected)} are constant or follow from each "
                "other, expected rows of every group; of a one-hot group leave one feature out"
            )

    def training(self, data, *, key=None):
        del key
        dtype = data.x.dtype
        share = data.weight / jnp.sum(data.weight)
        strengths = self.l2.astype(dtype), self.l2_bias.astype(dtype)
        own = units(data.x, share, *strengths, True)
        x = own.rows(data.x)
        groups = data.x[:, jnp.array(self.protected)]
        centred = groups - (share @ groups)[None, :]
        moments = (share[:, None] * centred).T @ x
        fit = _Fit(x, data.targets(), share, moments, *strengths, self.limit, own)
        start = jnp.zeros(data.x.shape[1] + 1, dtype)
        problem = Constrained(_objective, start, fit, _equalities, _inequalities)
        most = self.limit.strengths()
        valid = validity(data, self.l2, *most, self.l2_bias, positive=1 + len(most), signs=True)
        return Training(data, problem, eqx.Partial(_model, own), result=valid)


def _objective(unknowns: Float[Array, " p"], fit: _Fit) -> Float[Array, ""]:
    loss = fit.share @ losses.Logistic()(fit.y, fit.x @ unknowns[:-1] + unknowns[-1])
    w, bias = fit.units.model(unknowns[:-1], unknowns[-1])
    return loss + 0.5 * (fit.l2 * jnp.sum(w * w) + fit.l2_bias * bias * bias)


# The bias has no part in a covariance.
def _equalities(unknowns: Float[Array, " p"], fit: _Fit) -> Array:
    return fit.limit.equalities(fit.moments @ unknowns[:-1])


def _inequalities(unknowns: Float[Array, " p"], fit: _Fit) -> Array:
    return fit.limit.inequalities(fit.moments @ unknowns[:-1])


def _model(units: Units, value: KKTPoint) -> LinearModel:
    return LinearModel(*units.model(value.x[:-1], value.x[-1]))
