"""Gradient descent with momentum in integer arithmetic, which can be reversed exactly."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PyTree

from ..._solver import Point
from ..._tree import concrete
from ...problems import Smooth, Stochastic
from ...results import OUT_OF_RANGE
from ._fixed_point import DENOMINATOR
from ._path import AbstractPath
from ._reversible import Track, rate_at


class Momentum(AbstractPath):
    """v <- decay v - rate grad(w);  w <- w + v, `steps` times from v = 0.

    The same map as `Descent(optax.sgd(rate, momentum=decay), steps)`, on weights that are integer
    multiples of 2^-48 = 3.6e-15 and velocities that are multiples of 2^-56. `BackGradient`
    reverses it exactly and stores no states. Derivatives that follow the path in floating point
    (`Unroll`, ...) ignore this rounding.

    - `steps`: number of updates, >= 1.
    - `rate`: a number, or one for each step, (steps,); as a floating array it is differentiable.
    - `decay`: from 1/256 to 255/256, rounded to a multiple of 1/256 (.9 becomes 230/256 = .8984).
      Static, because it determines the memory of the reversal: log2(1/decay) bits per weight and
      step, in words of 64 bits.
    - `tol`: the solve has failed if the norm of the last gradient is above it. Infinite by default.

    |Weights| must stay below 2^13 = 8192, |steps| below 2^5 = 32; otherwise the result is
    `OUT_OF_RANGE` and the weights are NaN. Raises `ValueError` for an argument out of range;
    `argmin` raises it if JAX's 64-bit types are not enabled, which weights of any precision need.
    """

    steps: int
    rate: float | Float[Array, ""] | Float[Array, " steps"]
    decay: float = 0.9
    tol: float = float("inf")

    def __check_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps: got {self.steps}, expected at least 1")
        if not 1 <= round(self.decay * DENOMINATOR) < DENOMINATOR:
            raise ValueError(
                f"decay: got {self.decay}, expected 1/256 to 255/256; a path without momentum "
                "cannot be run backwards: use Descent(optax.sgd(rate), steps)"
            )
        if np.shape(self.rate) not in {(), (self.steps,)}:
            raise ValueError(
                f"rate: got shape {np.shape(self.rate)}, expected a number or one for each step, "
                f"({self.steps},)"
            )
        if concrete(self.rate) and not np.all(np.isfinite(np.asarray(self.rate))):
            raise ValueError("rate: got NaN or infinity, expected finite numbers")

    @property
    def numerator(self) -> int:
        """The rounded decay in units of 1/256."""
        return round(self.decay * DENOMINATOR)

    def begin(self, problem: Smooth | Stochastic, warm: PyTree) -> PyTree:
        return warm, jax.tree.map(jnp.zeros_like, warm)

    def step(self, problem: Smooth | Stochastic, state: PyTree, index: Array) -> PyTree:
        w, v = state
        decay = self.numerator / DENOMINATOR

        def slower(v, g):
            return decay * v - rate_at(self.rate, index, g.dtype) * g

        v = jax.tree.map(slower, v, jax.grad(problem.at(index))(w))
        return jax.tree.map(jnp.add, w, v), v

    def unknowns(self, problem: Smooth | Stochastic, state: PyTree) -> PyTree:
        return state[0]

    def arrive(self, problem: Smooth | Stochastic, state: PyTree) -> Point:
        return self.end(problem, state[0])

    def track(
        self, problem: Smooth | Stochastic, start: PyTree
    ) -> tuple[Float[Array, " d"], Track]:
        """The start as a vector, and the integer path from it."""
        flat, unravel = ravel_pytree(start)
        return flat, Track(problem, self.rate, unravel, self.numerator, self.steps)

    def run(self, problem: Smooth | Stochastic, warm: PyTree) -> Point:
        flat, track = self.track(problem, warm)
        arrival, _ = track.out(flat)
        return self.landing(track, problem, arrival.weights(flat.dtype), arrival.valid)

    def landing(
        self,
        track: Track,
        problem: Smooth | Stochastic,
        w: Float[Array, " d"],
        valid: Bool[Array, ""],
    ) -> Point:
        """The point of the last weights of an integer path."""
        point = self.end(problem, track.unravel(w))
        result = jnp.where(valid, point.result, OUT_OF_RANGE).astype(jnp.int32)
        stats = point.stats | {"stored_bits": jnp.int64(track.stored_bits(w.size))}
        return Point(point.unknowns, point.frozen, point.warm, result, stats)
