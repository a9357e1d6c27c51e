"""First-order training: an optax optimiser for a given number of steps."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from ..._interpret import interpret
from ..._solver import Point
from ..._tree import require_count
from ...problems import Smooth, Stochastic
from ._path import AbstractPath


@jax.custom_jvp
def root(x: Array) -> Array:
    """The square root, with derivative 0 at 0. Optimisers divide by the root of a mean of squared
    gradients: where a gradient stays zero, the factor of that derivative is zero.
    """
    return jnp.sqrt(x)


@root.defjvp
def _root_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    value = root(x)
    return value, jnp.where(x > 0, t / (2 * jnp.where(x > 0, value, 1)), 0 * t)


def _rooted(name: str, inputs: list):
    return root(inputs[0]) if name == "sqrt" else inputs


def updated(
    optimizer: optax.GradientTransformation,
    loss: Callable[[PyTree], Array],
    value: Array,
    gradient: PyTree,
    w: PyTree,
    memory: PyTree,
) -> tuple[PyTree, PyTree]:
    """(weights, memory) after an update of an optax optimiser."""
    extended = optax.with_extra_args_support(optimizer)

    def update(gradient, memory, w, value):
        more = {"value": value, "grad": gradient, "value_fn": loss}
        updates, memory = extended.update(gradient, memory, w, **more)
        return optax.apply_updates(w, updates), memory

    # optax needs the standard promotion of dtypes, whatever the caller set
    with jax.numpy_dtype_promotion("standard"):
        return interpret(update, _rooted)(gradient, memory, w, value)


class Descent(AbstractPath):
    """`steps` updates of an optax optimiser on a `Smooth` or `Stochastic` problem.

    The solution is the end of the path, which need not be a minimiser. `Unroll` differentiates the
    path exactly. `Implicit` assumes a minimiser; its certificate bounds the error of that.

    - `optimizer`: `optax.sgd(.1, momentum=.9)`, `optax.adam(1e-3)`, `optax.lbfgs()`, ...; it gets
      the value of the loss, too, and the loss itself.
    - `steps`: number of updates, >= 1; otherwise `ValueError`.
    - `tol`: the solve has failed if the norm of the last gradient is above it. For a `Stochastic`
      problem that is the gradient on the last mini-batch. Infinite by default.
    """

    optimizer: optax.GradientTransformation
    steps: int
    tol: float = float("inf")

    def __check_init__(self):
        require_count("steps", self.steps)

    def begin(self, problem: Smooth | Stochastic, warm: PyTree) -> PyTree:
        return warm, self.optimizer.init(warm)

    def step(self, problem: Smooth | Stochastic, state: PyTree, index: Array) -> PyTree:
        w, memory = state
        loss = problem.at(index)
        value, gradient = jax.value_and_grad(loss)(w)
        return updated(self.optimizer, loss, value, gradient, w, memory)

    def unknowns(self, problem: Smooth | Stochastic, state: PyTree) -> PyTree:
        return state[0]

    def arrive(self, problem: Smooth | Stochastic, state: PyTree) -> Point:
        return self.end(problem, state[0])
