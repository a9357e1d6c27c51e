"""Newton's method with conjugate gradients on Hessian products, for many unknowns."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from ..._solver import Point
from ..._tree import all_finite, norm
from ...linear.cg import conjugate_gradients
from ...problems import Smooth
from ...results import CONVERGED, CURVATURE, MAX_STEPS, NON_FINITE
from ._smooth import KICKS, AbstractSmoothSolver, descend, kick


class NewtonCG(AbstractSmoothSolver):
    """Damped Newton's method with CG for steps and adjoints; it forms no Hessian.

    - `tol`: a step shorter than this, relative to the iterate, ends the iteration. The error is
      then about `step_tol` times that, or at the level of rounding.
    - `max_steps`: Newton steps, at most.
    - `step_tol`, `cg_tol`: relative residuals of the linear solves for steps and for adjoints.
    - `cg_steps`: Hessian products per linear solve, at most.
    """

    tol: float = 1e-11
    max_steps: int = 50
    step_tol: float = 1e-3
    cg_tol: float = 1e-12
    cg_steps: int = 1000

    def run(self, problem: Smooth, warm: PyTree) -> Point:
        def value_and_grad(w):
            return jax.value_and_grad(problem.objective)(w, problem.args)

        def body(state):
            w, value, gradient, step, _, _, kicks = state
            found, positive = self._cg(problem, w, gradient, self.step_tol)
            # without positive curvature along the gradient, the gradient itself
            usable = positive | (norm(found) > 0)
            found = jax.tree.map(lambda f, g: jnp.where(usable, f, g), found, gradient)
            direction = jax.tree.map(jnp.negative, found)
            tiny = jnp.finfo(value.dtype).tiny
            close = norm(direction) <= self.tol * (norm(w) + tiny)
            w, value, gradient, t = descend(value_and_grad, w, value, gradient, direction)
            # Of the curvature along other directions the gradient says nothing.
            over = close | (t == 0)
            flat, unravel = ravel_pytree(w)
            away = unravel(kick(flat))
            convex = lax.cond(
                over, lambda: positive & self._cg(problem, w, away, 1e-2, 30)[1], lambda: positive
            )
            leaves = over & ~convex & (kicks < KICKS)
            w = jax.tree.map(lambda a, k: jnp.where(leaves, a + k, a), w, away)
            value, gradient = lax.cond(leaves, lambda: value_and_grad(w), lambda: (value, gradient))
            code = jnp.where(close, jnp.where(convex, CONVERGED, CURVATURE), MAX_STEPS)
            kicks = kicks + leaves.astype(jnp.int32)
            return w, value, gradient, step + 1, over & ~leaves, code.astype(jnp.int32), kicks

        def go(state):
            return ~state[4] & (state[3] < self.max_steps)

        value, gradient = value_and_grad(warm)
        none = jnp.int32(0)
        start = warm, value, gradient, none, jnp.bool_(False), jnp.int32(MAX_STEPS), none
        w, value, gradient, steps, _, result, _ = lax.while_loop(go, body, start)
        result = jnp.where(all_finite((w, gradient)), result, NON_FINITE).astype(jnp.int32)
        return Point(w, w, w, result, {"steps": steps, "residual": norm(gradient)})

    def backsolve(self, problem: Smooth, frozen: PyTree, rhs: PyTree) -> PyTree:
        return self._cg(problem, frozen, rhs, self.cg_tol)[0]

    def _cg(
        self, problem: Smooth, w: PyTree, rhs: PyTree, tol: float, steps: int | None = None
    ) -> tuple[PyTree, Array]:
        _, product = jax.linearize(lambda w: jax.grad(problem.objective)(w, problem.args), w)
        return conjugate_gradients(product, rhs, tol, self.cg_steps if steps is None else steps)
