"""Networks as learners: trained along a path, from a key."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from .._data import Data
from .._program import program
from .._solver import AbstractSolver
from .._tree import concrete, dot, require_count
from ..derivatives import AbstractDerivative, Unroll
from ..derivatives.unroll import iteration
from ..losses import CrossEntropy
from ..networks import AbstractArchitecture, Outputs
from ..problems import Smooth, Stochastic
from ..solvers import Descent
from ._checks import require_weights, strength, validity
from ._learner import AbstractLearner
from ._model import AbstractDeepModel
from ._training import Training


def _strengths(l2: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: strength("l2", leaf, zero=True), l2)


class NetworkModel(AbstractDeepModel):
    """A network with its parameters."""

    parameters: PyTree
    architecture: AbstractArchitecture

    def decision(self, x, *, key=None):
        return self._outputs(x, key).logits

    def activations(self, x, *, key=None):
        return self._outputs(x, key).activations

    @program
    def _outputs(self, x: Float[Array, "n ..."], key: PRNGKeyArray | None) -> Outputs:
        return self.architecture.apply(self.parameters, x, key)


class Network(AbstractLearner):
    """A network, trained by `solver` from initial weights and mini-batches of a key.

        min_w sum_i share_i loss(y_i, f_w(x_i)) + 1/2 sum l2 w^2,  share = weights over their sum.

    With the same key a training is the same function of rows, labels, weights and strengths, and
    differentiable in them, in the rates of the solver and in `start`.

    - `architecture`: from `bilevel.networks`, or a flax or equinox module by
      `bilevel.adapters`.
    - `loss(y, f)`: by default the cross-entropy of class numbers; `losses.Logistic()` for a network
      with one output and labels -1 and +1, `losses.Squares()` for real targets.
    - `l2`: strength >= 0 for all parameters, or a pytree of strengths whose structure is a prefix
      of that of the parameters.
    - `batch`: rows of a mini-batch. The rows are shuffled for every pass. By default all rows.
    - `augment(key, x) -> x`: a random change of the rows of each step.
    - `activity(key, outputs) -> scalar`: a term of the objective of each step, a function of the
      `networks.Outputs` of its rows.
    - `start`: initial parameters, by default drawn from the key.
    - `solver`: its `steps` is the length of the training; `steps_for` converts from passes.
    - `derivative`: how the path is differentiated. `Unroll(levels=2)` stores about 2 sqrt(steps)
      states. `Implicit()` needs a solver that converges to a minimiser, all rows in a batch and
      no dropout.

    Raises `ValueError` for a value out of range. `fit` raises it for labels that do not match the
    outputs, classes without rows, rows in another dtype than the parameters, and without a key.
    """

    architecture: AbstractArchitecture
    loss: Callable[[Array, Array], Array] = CrossEntropy()
    l2: PyTree = eqx.field(default=0.0, converter=_strengths)
    batch: int | None = None
    augment: Callable[[PRNGKeyArray, Array], Array] | None = None
    activity: Callable[[PRNGKeyArray, Outputs], Array] | None = None
    start: PyTree | None = None
    solver: AbstractSolver = Descent(optax.sgd(0.1, momentum=0.9), 200)
    derivative: AbstractDerivative = Unroll(2)

    def __check_init__(self):
        if self.batch is not None:
            require_count("batch", self.batch)

    def steps_for(self, rows: int, passes: int) -> int:
        """Steps of `passes` passes over the rows."""
        return passes * (rows // self._size(rows))

    def check(self, data):
        require_weights(data)
        check_labels = getattr(self.loss, "check", None)
        if check_labels is not None:
            check_labels(data.y)
        start = self._start(data)
        self._check_dtypes(start, data)
        f = jax.eval_shape(lambda w, x: self._model(w).decision(x), start, data.x)
        if f.ndim == 2:
            self._check_classes(data, f.shape[1])
        elif isinstance(self.loss, CrossEntropy):
            raise ValueError(
                f"loss: CrossEntropy got outputs of shape {f.shape}, expected (n, classes); give "
                "the network an output per class, or take losses.Logistic() and labels -1, +1"
            )

    def training(self, data, *, key=None):
        if key is None:
            raise ValueError("key: got None, expected a key for initial weights and mini-batches")
        of_start, of_order, of_steps = jax.random.split(key, 3)
        start = self.start
        if start is None:
            start = _initial(self.architecture, of_start, data.x[0])
        scale = data.rows / jnp.sum(data.weight)
        args = (data.x, data.y, data.weight * scale, self.l2)
        changed = self.augment is not None or self.activity is not None
        if self.batch is None and not changed and not self._draws(data):
            problem = Smooth(eqx.Partial(_mean, self.architecture, self.loss), start, args)
        else:
            loss = eqx.Partial(
                _mean_of_batch, self.architecture, self.loss, self.augment, self.activity
            )
            order = self._order(of_order, data.rows)
            problem = Stochastic(loss, start, args, of_steps, order)
        valid = validity(data, *jax.tree.leaves(self.l2), positive=0)
        return Training(data, problem, self._model, result=valid)

    def _model(self, parameters: PyTree) -> NetworkModel:
        return NetworkModel(parameters, self.architecture)

    def _draws(self, data: Data) -> bool:
        """Whether the architecture draws from its key, as dropout does."""
        key, x = jax.random.key(0), jax.ShapeDtypeStruct(data.x.shape, data.x.dtype)

        def logits(key, start, x):
            return self.architecture.apply(start, x, key).logits

        jaxpr = jax.make_jaxpr(logits)(key, self._start(data), x).jaxpr
        return any(jaxpr.invars[0] is used for eqn in jaxpr.eqns for used in eqn.invars)

    def _size(self, rows: int) -> int:
        return rows if self.batch is None else min(self.batch, rows)

    def _order(self, key: PRNGKeyArray, rows: int) -> Int[Array, "steps batch"]:
        """The rows of each step: each pass takes all rows once, in another order, but for those
        left over when the batch does not divide their number.
        """
        steps, size = iteration(self.solver).steps, self._size(rows)
        passes = -(-steps // (rows // size))
        keys = jax.random.split(key, passes)
        order = jax.lax.map(lambda key: jax.random.permutation(key, rows), keys)
        return order[:, : rows // size * size].reshape(-1, size)[:steps].astype(jnp.int32)

    def _start(self, data: Data) -> PyTree:
        """Shapes and dtypes of the parameters."""
        if self.start is not None:
            return self.start
        row = jax.ShapeDtypeStruct(data.x.shape[1:], data.x.dtype)
        return jax.eval_shape(
            lambda key, row: _initial(self.architecture, key, row), jax.random.key(0), row
        )

    def _check_dtypes(self, start: PyTree, data: Data) -> None:
        for leaf in jax.tree.leaves(start):
            if leaf.dtype != data.x.dtype:
                raise ValueError(
                    f"x: got {data.x.dtype}, but the network's parameters are {leaf.dtype}; "
                    f"convert the rows, x.astype({leaf.dtype}), or the parameters"
                )

    def _check_classes(self, data: Data, classes: int) -> None:
        if not (concrete(data.y) and concrete(data.weight)):
            return
        y = np.asarray(data.y)[np.asarray(data.weight) > 0]
        if np.max(y) >= classes:
            raise ValueError(
                f"y: got the class number {np.max(y):g}, expected 0 to {classes - 1}, one for each "
                "output; relabel the classes, or give the network more outputs"
            )
        missing = np.setdiff1d(np.arange(classes), y)
        if missing.size:
            raise ValueError(
                f"y: no row with weight > 0 has a class of {missing[:5]}, and the network has "
                f"{classes} outputs; give it one for each class that has rows"
            )


def _mean(
    architecture: AbstractArchitecture, loss: Callable, parameters: PyTree, args: PyTree
) -> Float[Array, ""]:
    return _mean_of(architecture.apply(parameters, args[0]), loss, parameters, args)


def _mean_of(
    outputs: Outputs, loss: Callable, parameters: PyTree, args: PyTree
) -> Float[Array, ""]:
    _, y, weight, l2 = args
    f = outputs.logits
    squares = jax.tree.map(lambda l2, part: l2.astype(f.dtype) * dot(part, part), l2, parameters)
    return jnp.mean(weight * loss(y, f)) + 0.5 * sum(jax.tree.leaves(squares))


def _mean_of_batch(
    architecture: AbstractArchitecture,
    loss: Callable,
    augment: Callable | None,
    activity: Callable | None,
    parameters: PyTree,
    args: PyTree,
    key: PRNGKeyArray,
) -> Float[Array, ""]:
    (x, y, weight, l2), rows = args
    of_rows, of_masks = jax.random.split(key)
    x = x[rows] if augment is None else augment(of_rows, x[rows])
    outputs = architecture.apply(parameters, x, of_masks)
    mean = _mean_of(outputs, loss, parameters, (x, y[rows], weight[rows], l2))
    if activity is None:
        return mean
    return mean + activity(jax.random.fold_in(key, 2), outputs).astype(mean.dtype)


@program
def _initial(
    architecture: AbstractArchitecture, key: PRNGKeyArray, row: Float[Array, "..."]
) -> PyTree:
    """Initial parameters for rows like this one; a program, so that checks trace it once."""
    return architecture.init(key, jax.ShapeDtypeStruct(row.shape, row.dtype))
