"""Softmax regression: logistic regression of several classes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PyTree

from .._data import Data
from .._solver import AbstractSolver
from .._tree import concrete
from ..derivatives import AbstractDerivative, Implicit
from ..losses import CrossEntropy
from ..problems import Smooth
from ..results import INVALID
from ..solvers import Newton, NewtonCG
from ..solvers.smooth._smooth import AbstractSmoothSolver
from ._checks import require_table, require_weights, strength, validity
from ._learner import AbstractLearner
from ._model import AbstractModel
from ._training import Training
from ._units import Units, identity, units

FEW = 500
"""Unknowns up to which the Hessian is formed and factorised."""


class SoftmaxNewton(AbstractSmoothSolver):
    """`Newton` for up to `FEW` unknowns, `NewtonCG` for more."""

    def _by_size(self, unknowns: PyTree) -> Newton | NewtonCG:
        size = sum(leaf.size for leaf in jax.tree.leaves(unknowns))
        return Newton() if size <= FEW else NewtonCG()

    def run(self, problem, warm):
        return self._by_size(problem.start).run(problem, warm)

    def backsolve(self, problem, frozen, rhs):
        return self._by_size(rhs).backsolve(problem, frozen, rhs)


class SoftmaxModel(AbstractModel):
    """f(x) = x'W + bias, a column per class. It predicts the class of the largest."""

    W: Float[Array, "d k"]
    bias: Float[Array, " k"]

    def decision(self, x, *, key=None):
        del key
        return x @ self.W + self.bias[None, :]


class Softmax(AbstractLearner):
    """min_{W, b} sum_i share_i (-log softmax(W'x_i + b) at y_i) + l2/2 |W|^2 + l2_bias/2 |b|^2,
    where share is the weights over their sum.

    Labels are class numbers 0 ... classes - 1. Differentiable in rows, weights and both strengths.

    - `classes`: number of classes, >= 2.
    - `l2`: strength > 0. `l2_bias`: strength >= 0 for the biases. At 0 the biases are determined up
      to a constant; those with sum 0 are returned.
    - `solver`: the default is Newton's method, with a Cholesky factor or, for more than 500
      unknowns, with conjugate gradients.
    - `derivative`: how the problem is differentiated.

    Raises `ValueError` for a value out of range; `fit` raises it for other labels.
    """

    classes: int
    l2: Float[Array, ""]
    l2_bias: Float[Array, ""]
    solver: AbstractSolver
    derivative: AbstractDerivative

    def __init__(
        self,
        classes: int,
        l2: ArrayLike = 1.0,
        l2_bias: ArrayLike = 0.0,
        solver: AbstractSolver | None = None,
        derivative: AbstractDerivative = Implicit(),
    ):
        if classes < 2:
            raise ValueError(f"classes: got {classes}, expected 2 or more")
        self.classes = classes
        self.l2 = strength("l2", l2)
        self.l2_bias = strength("l2_bias", l2_bias, zero=True)
        self.solver = SoftmaxNewton() if solver is None else solver
        self.derivative = derivative

    @property
    def loss(self):
        return CrossEntropy()

    def check(self, data: Data) -> None:
        require_table(data)
        require_weights(data)
        if not concrete(data.y):
            return
        y = np.asarray(data.y)
        wrong = y[(y != np.round(y)) | (y < 0) | (y >= self.classes)]
        if wrong.size:
            raise ValueError(
                f"y: got the label {wrong[0]:g}, expected class numbers 0 to {self.classes - 1}"
            )

    def training(self, data, *, key=None):
        del key
        share = data.weight / jnp.sum(data.weight)
        strengths = self.l2.astype(data.x.dtype), self.l2_bias.astype(data.x.dtype)
        d, dtype = data.x.shape[1], data.x.dtype
        start = jnp.zeros((d, self.classes), dtype), jnp.zeros(self.classes, dtype)
        own = identity(data.x)
        if self.solver.converges:
            own = units(data.x, share, *strengths, True)
        args = own.rows(data.x), data.y, share, *strengths, own
        problem = Smooth(_objective, start, args, _hessian)
        valid = validity(data, *strengths)
        known = (data.y == jnp.round(data.y)) & (data.y >= 0) & (data.y < self.classes)
        valid = jnp.where(jnp.all(known), valid, INVALID)
        return Training(data, problem, eqx.Partial(_model, own), result=valid)


def _model(units: Units, value: tuple[Array, Array]) -> SoftmaxModel:
    W, bias = units.model(*value)
    return SoftmaxModel(W, bias - jnp.mean(bias))


def _objective(unknowns, args) -> Float[Array, ""]:
    W, bias = unknowns
    x, y, share, l2, l2_bias, units = args
    loss = jnp.sum(share * CrossEntropy()(y, x @ W + bias[None, :]))
    # Zero at the minimum: it selects one of the biases that differ by a constant.
    gauge = jnp.sum(bias) ** 2
    W, bias = units.model(W, bias)
    return loss + 0.5 * (l2 * jnp.sum(W * W) + l2_bias * jnp.sum(bias**2) + gauge)


def _hessian(unknowns, args) -> Float[Array, "p p"]:
    W, bias = unknowns
    x, _, share, l2, l2_bias, units = args
    (d, k), eye = W.shape, jnp.eye(W.shape[1], dtype=W.dtype)
    p = jax.nn.softmax(x @ W + bias[None, :], axis=1)
    curvature = share[:, None, None] * (p[:, :, None] * eye[None] - p[:, :, None] * p[:, None, :])
    rows = jnp.concatenate([x, jnp.ones((x.shape[0], 1), x.dtype)], axis=1)
    blocks = jnp.einsum("nab,np,nq->paqb", curvature, rows, rows).reshape((d + 1) * k, -1)
    strengths = jnp.repeat(jnp.append(l2 * units.factor**2, l2_bias), k)
    gauge = (jnp.arange((d + 1) * k) >= d * k).astype(W.dtype)
    return blocks + jnp.diag(strengths) + jnp.outer(gauge, gauge)
