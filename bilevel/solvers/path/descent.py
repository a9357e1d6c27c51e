"""First-order training: any optax optimiser for a given number of steps."""

import jax
import optax
from jaxtyping import Array, PyTree

from ..._solver import Point
from ...problems import Smooth, Stochastic
from ._path import AbstractPath


class Descent(AbstractPath):
    """`steps` updates of an optax optimiser on a `Smooth` or `Stochastic` problem.

    What it returns is the end of that path, a function of the problem in its own right: `Unroll`
    differentiates it exactly. It is a minimiser only as far as the path got; `Implicit` assumes
    that it is one, and its certificate says what that assumption costs.

    - `optimizer`: `optax.sgd(.1, momentum=.9)`, `optax.adam(1e-3)`, ...
    - `tol`: with a norm of the gradient above it the solve counts as failed. Infinite by default:
      a path of this length is what was asked for. Of a `Stochastic` problem, the last mini-batch's.
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
        # optax relies on the usual promotion of dtypes, whatever our caller chose
        with jax.numpy_dtype_promotion("standard"):
            updates, memory = self.optimizer.update(gradient, memory, w)
            return optax.apply_updates(w, updates), memory

    def unknowns(self, problem: Smooth | Stochastic, state: PyTree) -> PyTree:
        return state[0]

    def arrive(self, problem: Smooth | Stochastic, state: PyTree) -> Point:
        return self.end(problem, state[0])
