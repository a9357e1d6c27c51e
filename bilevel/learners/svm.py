"""Support vector machine, in its dual form."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from .._data import Data
from .._solver import AbstractSolver
from ..derivatives import AbstractDerivative, Implicit
from ..losses import Hinge
from ..problems import BoxQP
from ..solvers import ActiveSet
from ._checks import require_classes, require_table, require_weights, strength
from ._learner import AbstractLearner
from ._model import AbstractModel
from ._training import Training
from .kernels import AbstractKernel, Linear, Terms
from .logistic import Logistic


class SVMModel(AbstractModel):
    """f(x) = sum_j coef_j k(x, x_j) + bias with coef = alpha * y. `terms` has the blocks (rows,
    coef).
    """

    terms: Terms
    bias: Float[Array, ""]
    kernel: AbstractKernel

    def decision(self, x, *, key=None):
        return self.kernel.expand(x, self.terms) + self.bias


class Known(eqx.Module):
    """The rows at the beginning of every data set, and their block of Q."""

    x: Float[Array, "k d"]
    Q: Float[Array, "k k"]


class SVM(AbstractLearner):
    """min_f 1/2 |f|^2 + C sum_i weight_i max(0, 1 - y_i f(x_i)), bias not regularised.

    Solved in the dual (Cortes & Vapnik 1995): min 1/2 a'Qa - 1'a, 0 <= a_i <= C weight_i,
    y'a = 0, Q = yy' * K; the bias is the multiplier of the equality. Differentiable in rows,
    weights, C and the kernel's parameters. Labels are -1 and +1.

    - `C`: > 0, weight of the hinge losses.
    - `kernel`: from `bilevel.learners.kernels`; `Linear()` by default.
    - `solver`, `derivative`: how the problem is solved and differentiated.

    Raises `ValueError` for C out of range; `fit` raises it for rows that are not float64, other
    labels or one class.
    """

    C: Float[Array, ""]
    kernel: AbstractKernel
    solver: AbstractSolver
    derivative: AbstractDerivative
    known: Known | None

    def __init__(
        self,
        C: ArrayLike = 1.0,
        kernel: AbstractKernel | None = None,
        solver: AbstractSolver | None = None,
        derivative: AbstractDerivative = Implicit(),
    ):
        self.C = strength("C", C)
        self.kernel = Linear() if kernel is None else kernel
        self.solver = ActiveSet() if solver is None else solver
        self.derivative, self.known = derivative, None

    @property
    def loss(self):
        return Hinge()

    def check(self, data: Data) -> None:
        if data.x.dtype != jnp.float64:
            raise ValueError(
                f"x: got {data.x.dtype}, expected float64: an SVM's active set is decided by small "
                "differences. Run jax.config.update('jax_enable_x64', True) before making arrays"
            )
        require_table(data)
        require_weights(data)
        require_classes(data)

    def prepare(self, data: Data) -> "SVM":
        y = data.targets()
        known = Known(data.x, self.kernel.gram(data.x, data.x) * jnp.outer(y, y))
        return eqx.tree_at(lambda s: s.known, self, known, is_leaf=lambda leaf: leaf is None)

    def prepare_rows(self, x):
        return x if self.known is None else self.kernel.prepare(x, self.known.x)

    def surrogate(self, data):
        """Logistic regression of the same strength for a linear kernel; otherwise itself."""
        if not isinstance(self.kernel, Linear):
            return self
        return Logistic(1 / (self.C * jnp.sum(data.weight)))

    def training(self, data, *, key=None):
        del key
        y = data.targets()
        problem = BoxQP(
            Q=self._quadratic(data, y),
            q=-jnp.ones_like(y),
            lower=jnp.zeros_like(y),
            upper=self.C * data.weight,
            e=y,
            b=jnp.zeros((), y.dtype),
        )
        return Training(data, problem, eqx.Partial(_model, self, data), make_support=_support)

    def _quadratic(self, data: Data, labels: Float[Array, " n"]) -> Array:
        if self.known is None:
            return self.kernel.gram(data.x, data.x) * jnp.outer(labels, labels)
        # Only blocks of the rows after the known ones are computed. Slices copy no row.
        k = self.known.x.shape[0]
        x, y = data.x[k:], labels[k:]
        side = self.kernel.gram(x, self.known.x) * jnp.outer(y, labels[:k])
        corner = self.kernel.gram(x, x) * jnp.outer(y, y)
        top = jnp.concatenate([self.known.Q, side.T], axis=1)
        return jnp.concatenate([top, jnp.concatenate([side, corner], axis=1)])


def _model(learner: SVM, data: Data, value: tuple[Array, Array]) -> SVMModel:
    # In the dual, stationarity reads Qa - 1 + nu y = 0, so y f(x) = 1 gives bias = nu.
    alpha, nu = value
    coef = alpha * data.targets()
    if learner.known is None:
        return SVMModel(((data.x, coef),), nu, learner.kernel)
    k = learner.known.x.shape[0]
    terms = (learner.known.x, coef[:k]), (data.x[k:], coef[k:])
    return SVMModel(terms, nu, learner.kernel)


def _support(value: tuple[Array, Array]) -> Bool[Array, " n"]:
    """Support vectors."""
    return value[0] > 0
