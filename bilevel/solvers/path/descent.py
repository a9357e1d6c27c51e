"""First-order training: an optax optimiser for a given number of steps."""

import jax
import optax
from jaxtyping import Array, PyTree

from ..._solver import Point
from ...problems import Smooth, Stochastic
from ._path import AbstractPath


class Descent(AbstractPath):
    """`steps` updates of an optax optimiser on a `Smooth` or `Stochastic` problem.

    The solution is the end of the path, which need not be a minimiser. `Unroll` differentiates the
    path exactly. `Implicit` assumes a minimiser; its certificate bounds the error of that.

    - `optimizer`: `optax.sgd(.1, momentum=.9)`, `optax.adam(1e-3)`, ...
    - `steps`: number of updates, >= 1; otherwise `ValueError`.
    - `tol`: the solve has failed if the norm of the last gradient is above it. For a `Stochastic`
      problem that is the gradient on the last mini-batch. Infinite by default.
    """

    optimizer: optax.GradientTransformation
    steps: int
    tol: float = float("inf")

    def __check_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps: got {self.steps}, expected at least 1")

    def begin(self, problem: Smooth | Stochastic, warm: PyTree) -> PyTree:
        return warm, self.optimizer.init(warm)

    def step(self, problem: Smooth | Stochastic, state: PyTree, index: Array) -> PyTree:
        w, memory = state
        gradient = jax.grad(problem.at(index))(w)
        # optax needs the standard promotion of dtypes, whatever the caller set
        with jax.numpy_dtype_promotion("standard"):
            updates, memory = self.optimizer.update(gradient, memory, w)
            return optax.apply_updates(w, updates), memory

    def unknowns(self, problem: Smooth | Stochastic, state: PyTree) -> PyTree:
        return state[0]

    def arrive(self, problem: Smooth | Stochastic, state: PyTree) -> Point:
        return self.end(problem, state[0])
