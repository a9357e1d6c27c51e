"""Limited-memory BFGS, then a Newton method: cheap far from the solution, exact at the end."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from ..._solver import Point
from ..._tree import norm
from ...problems import Smooth
from ._smooth import AbstractSmoothSolver, descend
from .newton import Newton


class LBFGS(AbstractSmoothSolver):
    """L-BFGS (Nocedal 1980) until |gradient| has shrunk by `rtol`, then `finish`.

    A first-order method stalls before working precision, and a gradient through its solution has
    that error.

    - `rtol`: |gradient| relative to that at the start, at which `finish` begins.
    - `max_steps`: L-BFGS steps, at most.
    - `memory`: number of stored pairs.
    - `finish`: solver of the last steps, which keeps the factor for the adjoint; `Newton()`, or
      `NewtonCG()` for many unknowns.
    """

    rtol: float = 0.03
    max_steps: int = 500
    memory: int = 10
    finish: AbstractSmoothSolver = Newton()

    def run(self, problem: Smooth, warm: PyTree) -> Point:
        w, unravel = ravel_pytree(warm)

        def value_and_grad(w):
            return jax.value_and_grad(lambda w: problem.objective(unravel(w), problem.args))(w)

        def body(state):
            w, value, gradient, pairs, step, _ = state
            direction = -_two_loops(pairs, gradient, step)
            uphill = jnp.sum(direction * gradient) >= 0
            direction = jnp.where(uphill, -gradient, direction)
            new, new_value, new_gradient, t = descend(value_and_grad, w, value, gradient, direction)
            s, y = new - w, new_gradient - gradient
            curved = jnp.sum(s * y) > jnp.finfo(w.dtype).eps * jnp.sum(y * y)
            slot = step % self.memory
            rho = jnp.where(curved, 1 / jnp.where(curved, jnp.sum(s * y), 1), 0)
            pairs = (
                pairs[0].at[slot].set(s),
                pairs[1].at[slot].set(y),
                pairs[2].at[slot].set(rho),
            )
            return new, new_value, new_gradient, pairs, step + 1, t == 0

        value, gradient = value_and_grad(w)
        target = self.rtol * norm(gradient)

        def go(state):
            return (norm(state[2]) > target) & (state[4] < self.max_steps) & ~state[5]

        blank = jnp.zeros((self.memory, w.size), w.dtype)
        pairs = (blank, blank, jnp.zeros(self.memory, w.dtype))
        start = (w, value, gradient, pairs, jnp.int32(0), jnp.bool_(False))
        w, *_, steps, _ = lax.while_loop(go, body, start)
        point = self.finish.run(problem, unravel(w))
        stats = {**point.stats, "first_order_steps": steps}
        return Point(point.unknowns, point.frozen, point.warm, point.result, stats)

    def backsolve(self, problem: Smooth, frozen: PyTree, rhs: PyTree) -> PyTree:
        return self.finish.backsolve(problem, frozen, rhs)


def _two_loops(pairs, gradient: Array, step: Array) -> Array:
    """The estimate of the inverse Hessian times the gradient. Unused pairs have rho = 0."""
    s, y, rho = pairs
    memory = rho.shape[0]

    def newest_first(i, state):
        q, alphas = state
        k = (step - 1 - i) % memory
        alpha = rho[k] * jnp.sum(s[k] * q)
        return q - alpha * y[k], alphas.at[k].set(alpha)

    q, alphas = lax.fori_loop(0, memory, newest_first, (gradient, jnp.zeros_like(rho)))
    last = (step - 1) % memory
    yy = jnp.sum(y[last] * y[last])
    known = (rho[last] > 0) & (yy > 0)
    first = 1 / jnp.maximum(norm(gradient), jnp.finfo(q.dtype).tiny)
    scale = jnp.where(known, 1 / jnp.where(known, rho[last] * yy, 1), jnp.minimum(1.0, first))
    q = scale * q

    def oldest_first(i, q):
        k = (step + i) % memory
        return q + s[k] * (alphas[k] - rho[k] * jnp.sum(y[k] * q))

    return lax.fori_loop(0, memory, oldest_first, q)
