"""Newton's method with a Cholesky factor, for up to some thousand unknowns."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree

from ..._solver import Point
from ..._tree import all_finite, norm
from ...problems import Smooth
from ...results import CONVERGED, CURVATURE, MAX_STEPS, NON_FINITE
from .. import _cholesky
from .._renew import renewed
from ._smooth import KICKS, AbstractSmoothSolver, descends, kick


class Newton(AbstractSmoothSolver):
    """Damped Newton's method. Near the solution the factor is reused: a step costs one gradient.

    - `tol`: the iteration ends with a step shorter than this, relative to the iterate, or when
      rounding prevents shorter steps with a new factor. The norm of the gradient is not tested: on
      an ill-conditioned problem it vanishes long before the error.
    - `max_steps`: steps, with or without a new factor, at most.
    - `reuse`: the factor is used again while a step reduces |gradient| at least by this factor.
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

        # One evaluation per iteration, for the start, for a new step and for the line search: one
        # copy of the objective, its gradient and the tests to compile.
        def body(state):
            w, gradient, chol, (value, t, before, _), flags = state
            step, fresh, renew, _, definite, kicks = flags
            begins = step < 0
            chol, definite = renewed(
                renew > 0, lambda: _factor(problem, objective, unravel, w), (chol, definite)
            )
            direction = lax.cond(
                begins, lambda: jnp.zeros_like(w), lambda: -_cholesky.solve(chol, gradient)
            )
            new = w + t * direction
            vectors = gradient**2, direction**2, new**2, gradient * direction
            sums = jnp.sum(jnp.stack(vectors), axis=1)
            slope, (size, length, width) = sums[3], jnp.sqrt(sums[:3])
            length = length / (width + tiny)
            # The predicted length of the next step, which shrinks as this one has, is within tol.
            near = length * jnp.where(before <= 1, length, 1) <= self.tol * rough * jnp.where(
                before <= 1, before, 1
            )
            # At a minimiser w = 0 relative lengths fail; then the predicted fall is below rounding.
            flat = -slope <= rough**4 * jnp.abs(value)
            short = ((length <= self.tol) | near | flat) & ~begins
            # The last step needs no look at where it leads.
            last = short & (t == 1) & (definite > 0)
            new_value, new_gradient = lax.cond(
                last, lambda: (value, gradient), lambda: value_and_grad(new)
            )
            new_size = norm(new_gradient)
            fits = begins | last | descends(value, new_value, t * slope, size, new_size)
            turns = fits | (t <= 2e-10)  # the line search ends, with or without a step
            slow = ~fits | (t < 1) | (new_size > self.reuse * size)
            # At rounding: a new factor, and a step no shorter than the last that is short; or, of
            # an ill-conditioned problem, promises nothing and leaves the gradient as it is.
            idle = (-slope <= rough**2 * jnp.abs(value)) & (new_size > 0.5 * size)
            floor = slow & (fresh > 0) & ((length < rough) | idle) & (length > 0.5 * before)
            over = (short | floor) & turns & ~begins
            renew = begins | (turns & slow)
            # A saddle, or a factor kept from where the Hessian was indefinite: look again here,
            # then leave.
            stands = over & (definite == 0)
            leaves = stands & (fresh > 0) & (kicks < KICKS)
            over &= ~stands | ((fresh > 0) & ~leaves)
            renew |= stands
            kicks += leaves.astype(jnp.int32)
            new = jnp.where(leaves, jnp.where(fits, new, w) + kick(w), new)
            fits &= ~leaves
            scalars = (
                jnp.where(fits, new_value, value),
                jnp.where(turns, 1, t / 2),
                jnp.where(begins, jnp.inf, jnp.where(turns, length, before)),
                jnp.where(fits, new_size, size),
            )
            flags = (
                jnp.where(leaves, -1, step + turns.astype(jnp.int32)),
                jnp.where(turns, renew, fresh > 0), renew, over, definite, kicks,
            )  # fmt: skip
            return (
                jnp.where(fits | leaves, new, w),
                jnp.where(fits, new_gradient, gradient),
                chol,
                jnp.stack(scalars),
                jnp.stack([flag.astype(jnp.int32) for flag in flags]),
            )

        def go(state):
            step, _, _, over, *_ = state[4]
            return (over == 0) & (step < self.max_steps)

        start = (
            w, jnp.zeros_like(w), jnp.zeros((w.size, w.size), w.dtype),
            jnp.array([0, 1, jnp.inf, 0], w.dtype), jnp.array([-1, 0, 0, 0, 1, 0], jnp.int32),
        )  # fmt: skip
        w, gradient, chol, scalars, flags = lax.while_loop(go, body, start)
        steps, over = flags[0], flags[3] > 0
        result = jnp.where(over, jnp.where(flags[4] > 0, CONVERGED, CURVATURE), MAX_STEPS)
        result = jnp.where(all_finite((w, scalars[0], gradient)), result, NON_FINITE)
        stats = {"steps": steps, "residual": scalars[3]}
        return Point(unravel(w), chol, unravel(w), result.astype(jnp.int32), stats)

    def backsolve(self, problem: Smooth, frozen: Array, rhs: PyTree) -> PyTree:
        flat, unravel = ravel_pytree(rhs)
        return unravel(_cholesky.solve(frozen, flat))


def _factor(problem, objective, unravel, w) -> tuple[Float[Array, "d d"], Int[Array, ""]]:
    """Cholesky factor of the Hessian, or of a multiple of the identity if that is not positive
    definite; and whether it is.
    """
    if problem.hessian is None:
        _, product = jax.linearize(jax.grad(objective), w)
        hessian = jax.vmap(product)(jnp.eye(w.size, dtype=w.dtype))
    else:
        hessian = problem.hessian(unravel(w), problem.args)
    chol = _cholesky.cholesky(hessian)
    size = jnp.sqrt(jnp.max(jnp.abs(hessian)))
    size = jnp.where(size > 0, size, 1)
    # The factor of an indefinite matrix is NaN in all entries.
    definite = jnp.isfinite(chol[0, 0])
    chol = jnp.where(definite, chol, size * jnp.eye(w.size, dtype=w.dtype))
    return chol, definite.astype(jnp.int32)
