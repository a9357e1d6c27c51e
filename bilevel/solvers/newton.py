"""Newton's method with a Cholesky factor, for up to some thousand unknowns."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Float, PyTree

from .._solver import Point
from .._tree import all_finite, dot, norm
from ..problems import Smooth
from ..results import CONVERGED, MAX_STEPS, NON_FINITE
from ._smooth import AbstractSmoothSolver, descend


class Newton(AbstractSmoothSolver):
    """Damped Newton. The factor is used again for the next step while steps with it shrink the
    gradient by `reuse` or better, so that near the solution a step costs one gradient.

    - `tol`: the iteration ends with a step shorter than this, relative to the iterate, or when
      rounding keeps steps with a fresh factor from getting shorter. The gradient's norm is no
      judge: on an ill-conditioned problem it vanishes long before the error does.
    - `max_steps`: steps, with or without a new factor.
    """

    tol: float = 1e-12
    max_steps: int = 100
    reuse: float = 0.1

    def run(self, problem: Smooth, warm: PyTree) -> Point:
        w, unravel = ravel_pytree(warm)

        def objective(w):
            return problem.objective(unravel(w), problem.args)

        value_and_grad = jax.value_and_grad(objective)
        tiny, rough = jnp.finfo(w.dtype).tiny, float(jnp.finfo(w.dtype).eps) ** 0.5

        def body(state):
            w, value, gradient, chol, fresh, before, step, _ = state
            chol = lax.cond(fresh, lambda: _factor(problem, objective, unravel, w), lambda: chol)
            direction = -cho_solve((chol, True), gradient)
            new, new_value, new_gradient, t = descend(value_and_grad, w, value, gradient, direction)
            rate = norm(new_gradient) / jnp.maximum(norm(gradient), tiny)
            length = norm(direction) / (norm(new) + tiny)
            slow = (rate > self.reuse) | (t < 1)
            # Rounding: a fresh factor, a short step, and not a shorter one than before.
            floor = slow & fresh & (length < rough) & (length > 0.5 * before)
            # The error left is that of a step shortened once more as this one was.
            ahead = length * jnp.where(before <= 1, length / before, 1)
            # A minimiser at zero has no relative length, but then there is nothing to gain.
            flat = -dot(gradient, direction) <= rough**4 * jnp.abs(value)
            over = (length <= self.tol) | (ahead <= self.tol * rough) | floor | flat
            fresh = slow
            return new, new_value, new_gradient, chol, fresh, length, step + 1, over

        def go(state):
            return ~state[7] & (state[6] < self.max_steps)

        value, gradient = value_and_grad(w)
        chol = jnp.zeros((w.size, w.size), w.dtype)
        none, far = jnp.int32(0), jnp.full((), jnp.inf, w.dtype)
        start = (w, value, gradient, chol, jnp.bool_(True), far, none, jnp.bool_(False))
        w, value, gradient, chol, _, _, steps, over = lax.while_loop(go, body, start)
        result = jnp.where(over, CONVERGED, MAX_STEPS)
        result = jnp.where(all_finite((w, value, gradient)), result, NON_FINITE).astype(jnp.int32)
        stats = {"steps": steps, "residual": norm(gradient)}
        return Point(unravel(w), chol, unravel(w), result, stats)

    def backsolve(self, problem: Smooth, frozen: Array, rhs: PyTree) -> PyTree:
        flat, unravel = ravel_pytree(rhs)
        return unravel(cho_solve((frozen, True), flat))


def _factor(problem, objective, unravel, w) -> Float[Array, "d d"]:
    """Cholesky factor of the Hessian; of a multiple of the identity where that is indefinite."""
    if problem.hessian is None:
        _, product = jax.linearize(jax.grad(objective), w)
        hessian = jax.vmap(product)(jnp.eye(w.size, dtype=w.dtype))
    else:
        hessian = problem.hessian(unravel(w), problem.args)
    chol = lax.linalg.cholesky(hessian, symmetrize_input=False)
    size = jnp.sqrt(jnp.max(jnp.abs(jnp.diagonal(hessian))))
    return jnp.where(jnp.all(jnp.isfinite(chol)), chol, size * jnp.eye(w.size, dtype=w.dtype))
