"""Newton's method with conjugate gradients on Hessian products, for many unknowns."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import PyTree

from ..._solver import Point
from ..._tree import all_finite, norm
from ...linear.cg import conjugate_gradients
from ...problems import Smooth
from ...results import CONVERGED, MAX_STEPS, NON_FINITE
from ._smooth import AbstractSmoothSolver, descend


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
            w, value, gradient, step, _, _ = state
            direction = jax.tree.map(jnp.negative, self._cg(problem, w, gradient, self.step_tol))
            close = norm(direction) <= self.tol * (norm(w) + jnp.finfo(value.dtype).tiny)
            w, value, gradient, t = descend(value_and_grad, w, value, gradient, direction)
            return w, value, gradient, step + 1, close | (t == 0), close

        def go(state):
            return ~state[4] & (state[3] < self.max_steps)

        value, gradient = value_and_grad(warm)
        start = (warm, value, gradient, jnp.int32(0), jnp.bool_(False), jnp.bool_(False))
        w, value, gradient, steps, _, close = lax.while_loop(go, body, start)
        result = jnp.where(close, CONVERGED, MAX_STEPS)
        result = jnp.where(all_finite((w, gradient)), result, NON_FINITE).astype(jnp.int32)
        return Point(w, w, w, result, {"steps": steps, "residual": norm(gradient)})

    def backsolve(self, problem: Smooth, frozen: PyTree, rhs: PyTree) -> PyTree:
        return self._cg(problem, frozen, rhs, self.cg_tol)

    def _cg(self, problem: Smooth, w: PyTree, rhs: PyTree, tol: float) -> PyTree:
        _, product = jax.linearize(lambda w: jax.grad(problem.objective)(w, problem.args), w)
        return conjugate_gradients(product, rhs, tol, self.cg_steps)
