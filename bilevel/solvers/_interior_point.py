"""Mehrotra's predictor-corrector method for a box and one equality. Finds the face; the active
set method then solves on it to working precision.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import cho_solve
from jaxtyping import Array

from ..problems import BoxQP
from ._face import Scales, Sets, equality, pinned


def interior_point(qp: BoxQP, scales: Scales, max_steps: int) -> tuple[Sets, Array, Array]:
    """Return the active sets, the point (inside its bounds) and the number of iterations.

    Both bounds are handled at once: slacks `s`, multipliers `z` and their directions are (2, n),
    lower bounds first. The iterate is frozen once it has converged: a step beyond that would
    divide by vanished slacks and end in NaN.
    """
    n, dtype = qp.q.shape[0], qp.q.dtype
    fixed = pinned(qp)
    moves = ~fixed
    e, b = equality(qp)
    rest = jnp.where(fixed, qp.lower, 0)
    b = b - e @ rest
    e = jnp.where(moves, e, 0)
    q = jnp.where(moves, qp.q + qp.Q @ rest, 0)
    Q = jnp.where(moves[:, None] & moves[None, :], qp.Q, 0) + jnp.diag(fixed.astype(dtype))
    bounds = jnp.stack([qp.lower, qp.upper])
    has = moves[None, :] & jnp.isfinite(bounds)
    bounds = jnp.where(has, bounds, 0)
    sign = jnp.asarray([[1], [-1]], dtype)
    scale = scales.floor
    eps = float(jnp.finfo(dtype).eps)
    tol = scale * eps**0.65

    x = jnp.where(has[0] & has[1], (bounds[0] + bounds[1]) / 2, 0)
    x = jnp.where(has[0] & ~has[1], bounds[0] + 1, jnp.where(has[1] & ~has[0], bounds[1] - 1, x))
    z = jnp.where(has, scale, 0)

    def slacks(x):
        return jnp.where(has, sign * (x[None, :] - bounds), 1)

    def body(state):
        x, nu, z, _, steps = state
        s = slacks(x)
        dual = jnp.where(moves, Q @ x + q + nu * e - z[0] + z[1], 0)
        equality = e @ x - b
        gap = jnp.sum(z * s) / (2 * n)
        error = jnp.maximum(jnp.maximum(jnp.max(jnp.abs(dual)), jnp.abs(equality)), gap)
        barrier = z / s
        chol = lax.linalg.cholesky(
            Q + jnp.diag(barrier[0] + barrier[1] + scales.ridge), symmetrize_input=False
        )

        def stage(_, previous):
            """Predictor first, from zero: then the corrector, from the predictor's direction."""
            dx, _, dz, _, target = previous
            aim = target - z * s - sign * dx[None, :] * dz
            rhs = jnp.stack([aim[0] / s[0] - aim[1] / s[1] - dual, e], axis=1)
            y = cho_solve((chol, True), rhs)
            ey, gamma = e @ y
            dnu = jnp.where(gamma > 0, (ey + equality) / jnp.where(gamma > 0, gamma, 1), 0)
            dx = jnp.where(moves, y[:, 0] - y[:, 1] * dnu, 0)
            dz = jnp.where(has, (aim - sign * z * dx[None, :]) / s, 0)
            now = jnp.concatenate([s, z])
            move = jnp.concatenate([jnp.where(has, sign * dx[None, :], 0), dz])
            ratio = jnp.where(move < 0, now / jnp.where(move < 0, -move, 1), jnp.inf)
            a = jnp.minimum(1, 0.995 * jnp.min(ratio))
            mu = jnp.sum((z + a * dz) * slacks(x + a * dx)) / (2 * n)
            return dx, dnu, dz, a, gap * (mu / jnp.where(gap > 0, gap, 1)) ** 3

        none = jnp.zeros((), dtype)
        start = jnp.zeros(n, dtype), none, jnp.zeros((2, n), dtype), none, none
        dx, dnu, dz, a, _ = lax.fori_loop(0, 2, stage, start)
        new = x + a * dx, nu + a * dnu, z + a * dz
        usable = (error > tol) & jnp.isfinite(jnp.sum(dx) + dnu + a)
        keep = jax.tree.map(lambda fresh, old: jnp.where(usable, fresh, old), new, (x, nu, z))
        return (*keep, usable, steps + 1)

    start = (x, jnp.zeros((), dtype), z, jnp.bool_(True), jnp.int32(0))
    x, _, z, _, steps = lax.while_loop(lambda s: s[3] & (s[4] < max_steps), body, start)
    s = slacks(x)
    at = has & (z > s) & (s <= s[::-1])
    return Sets(at[0] | fixed, at[1] & ~at[0]), jnp.where(fixed, qp.lower, x), steps
