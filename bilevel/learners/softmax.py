"""Softmax regression: logistic regression of several classes."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._data import Data
from .._solver import AbstractSolver
from .._tree import concrete
from ..derivatives import AbstractDerivative, Implicit
from ..losses import CrossEntropy
from ..problems import Smooth
from ..solvers import NewtonCG
from ._checks import require_table, require_weights, strength
from ._learner import AbstractLearner
from ._model import AbstractModel
from ._training import Training


class SoftmaxModel(AbstractModel):
    """f(x) = x'W + bias, a column per class. It predicts the class of the largest."""

    W: Float[Array, "d k"]
    bias: Float[Array, " k"]

    def decision(self, x, *, key=None):
        return x @ self.W + self.bias[None, :]


class Softmax(AbstractLearner):
    """min_{W, b} sum_i share_i (-log softmax(W'x_i + b) at y_i) + l2/2 |W|^2 + l2_bias/2 |b|^2,
    where share is the weights over their sum.

    Labels are class numbers 0 ... classes - 1. Differentiable in rows, weights and both strengths.

    - `classes`: number of classes, >= 2.
    - `l2`: strength > 0. `l2_bias`: strength >= 0 for the biases. At 0 the biases are determined up
      to a constant; those with sum 0 are returned.
    - `solver`: the default forms no Hessian. `Newton()` forms it and is faster for up to some
      hundred unknowns.
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
        self.solver = NewtonCG() if solver is None else solver
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
        args = data.x, data.y, share, *strengths
        return Training(data, Smooth(_objective, start, args, _hessian), _model)


def _model(value: tuple[Array, Array]) -> SoftmaxModel:
    return SoftmaxModel(*value)


def _objective(unknowns, args) -> Float[Array, ""]:
    W, bias = unknowns
    x, y, share, l2, l2_bias = args
    loss = jnp.sum(share * CrossEntropy()(y, x @ W + bias[None, :]))
    # The last term is zero at the minimum and selects one of the biases that differ by a constant.
    return loss + 0.5 * (l2 * jnp.sum(W * W) + l2_bias * jnp.sum(bias**2) + jnp.sum(bias) ** 2)


def _hessian(unknowns, args) -> Float[Array, "p p"]:
    W, bias = unknowns
    x, _, share, l2, l2_bias = args
    (d, k), eye = W.shape, jnp.eye(W.shape[1], dtype=W.dtype)
    p = jax.nn.softmax(x @ W + bias[None, :], axis=1)
    curvature = share[:, None, None] * (p[:, :, None] * eye[None] - p[:, :, None] * p[:, None, :])
    rows = jnp.concatenate([x, jnp.ones((x.shape[0], 1), x.dtype)], axis=1)
    blocks = jnp.einsum("nab,np,nq->paqb", curvature, rows, rows).reshape((d + 1) * k, -1)
    of_bias = jnp.arange((d + 1) * k) >= d * k
    gauge = of_bias.astype(W.dtype)
    return blocks + jnp.diag(jnp.where(of_bias, l2_bias, l2)) + jnp.outer(gauge, gauge)
