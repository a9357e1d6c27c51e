"""Support vector machine, in its dual form."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from .._data import Data
from .._solver import AbstractSolver
from ..derivatives import AbstractDerivative, Implicit
from ..losses import Hinge
from ..problems import BoxQP, Product
from ..solvers import ActiveSet
from ._checks import require_classes, require_table, require_weights, strength, validity
from ._learner import AbstractLearner
from ._model import AbstractModel
from ._training import Training
from .kernels import AbstractKernel, Linear, Terms
from .logistic import Logistic


class SVMModel(AbstractModel):
    """f(x) = sum_j coef_j k(x, x_j) + bias with coef = alpha * y. `terms` has the blocks (rows,
    coef); with a linear kernel the rows are centred, and if there are many, multiplied by y
    instead of alpha.
    """

    terms: Terms
    bias: Float[Array, ""]
    kernel: AbstractKernel

    def decision(self, x, *, key=None):
        del key
        return self.kernel.expand(x, self.terms) + self.bias


class Known(eqx.Module):
    """The rows at the beginning of every data set, their block of Q, and what was subtracted."""

    x: Float[Array, "k d"]
    Q: Float[Array, "k k"]
    origin: Float[Array, " d"] | None


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
        if self._low_rank(data.x):
            return self
        y, origin = data.targets(), self.kernel.origin(data.x, data.weight)
        x = _from(origin, data.x)
        known = Known(x, self.kernel.gram(x, x) * jnp.outer(y, y), origin)
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
        y, known = data.targets(), self.known
        origin = self.kernel.origin(data.x, data.weight) if known is None else known.origin
        new = _from(origin, data.x if known is None else data.x[known.x.shape[0] :])
        signed = known is None and self._low_rank(new)
        if signed:  # one copy of many rows, for the problem and the model
            new = _signed(data.x, origin, y)
        problem = BoxQP(
            Q=Product(new) if signed else self._quadratic(new, y),
            q=-jnp.ones_like(y),
            lower=jnp.zeros_like(y),
            upper=self.C * data.weight,
            e=y,
            b=jnp.zeros((), y.dtype),
        )
        make_model = eqx.Partial(_model, self, new, jnp.ones_like(y) if signed else y, origin)
        valid = validity(data, self.C, signs=True)
        return Training(data, problem, make_model, make_support=_support, result=valid)

    def _low_rank(self, x: Float[Array, "n d"]) -> bool:
        return isinstance(self.kernel, Linear) and 2 * x.shape[1] <= x.shape[0]

    def _quadratic(self, new: Float[Array, "m d"], y: Float[Array, " n"]) -> Float[Array, "n n"]:
        """Q of the known rows and `new`."""
        if self.known is None:
            return self.kernel.gram(new, new) * jnp.outer(y, y)
        # Only blocks of the rows after the known ones are computed.
        k = self.known.x.shape[0]
        side = self.kernel.gram(new, self.known.x) * jnp.outer(y[k:], y[:k])
        corner = self.kernel.gram(new, new) * jnp.outer(y[k:], y[k:])
        top = jnp.concatenate([self.known.Q, side.T], axis=1)
        return jnp.concatenate([top, jnp.concatenate([side, corner], axis=1)])


def _from(origin: Array | None, x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    return x if origin is None else x - origin[None, :]


@jax.checkpoint  # a derivative makes them anew
def _signed(x: Float[Array, "n d"], origin: Array | None, y: Float[Array, " n"]) -> Array:
    """Rows from the origin, multiplied by their labels."""
    return y[:, None] * _from(origin, x)


def _model(
    learner: SVM,
    new: Float[Array, "m d"],
    sign: Float[Array, " n"],
    origin: Array | None,
    value: tuple[Array, Array],
) -> SVMModel:
    # In the dual, stationarity reads Qa - 1 + nu y = 0, so y f(x) = 1 gives bias = nu.
    alpha, bias = value
    coef = alpha * sign
    if learner.known is None:
        terms = ((new, coef),)
    else:
        k = learner.known.x.shape[0]
        terms = (learner.known.x, coef[:k]), (new, coef[k:])
    if origin is not None:
        bias = bias - learner.kernel.expand(origin[None, :], terms)[0]
    return SVMModel(terms, bias, learner.kernel)


def _support(value: tuple[Array, Array]) -> Bool[Array, " n"]:
    """Support vectors."""
    return value[0] > 0
