"""Path following for a box and one equality, one solve a step. Finds the face; the active set
method then solves on it to working precision.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Bool, Float, Int

from ...problems import BoxQP, Product
from ._face import Scales, Sets, equality, pinned


class Inside(NamedTuple):
    """Active sets, the point (inside its bounds), the multiplier of the equality, iterations."""

    sets: Sets
    x: Float[Array, " n"]
    nu: Float[Array, ""]
    steps: Int[Array, ""]


def interior_point(qp: BoxQP, scales: Scales, max_steps: int) -> Inside:
    """Follow the central path to near the solution.

    Both bounds are handled at once: slacks `s`, multipliers `z` and their directions are (2, n),
    lower bounds first. A step aims at a barrier that the last step's length decides: long steps
    mean a central iterate, which may aim low. There is no corrector: its program would be half as
    long again, for a third fewer steps. The iterate is frozen once it has converged: a step
    beyond that would divide by vanished slacks and end in NaN.
    """
    dtype = qp.q.dtype
    moves = ~pinned(qp)
    e, b = equality(qp)
    bounds = jnp.stack([qp.lower, qp.upper])
    has = moves[None, :] & jnp.isfinite(bounds)
    sign = jnp.asarray([[1], [-1]], dtype)
    tol = scales.floor * float(jnp.finfo(dtype).eps) ** 0.65

    def slacks(x):
        return jnp.where(has, sign * (x[None, :] - bounds), 1)

    def body(state):
        x, nu, z, length, _, steps = state
        s = slacks(x)
        dual = jnp.where(moves, qp.Q @ x + qp.q + nu * e - z[0] + z[1], 0)
        excess = (scales.rows @ x)[0] - b
        largest = jnp.max(jnp.abs(jnp.concatenate([dual[None, :], z * s])), axis=1)
        gap = jnp.maximum(largest[1], largest[2])
        error = jnp.maximum(jnp.maximum(largest[0], gap), jnp.abs(excess))
        share = jnp.maximum((1 - length) ** 3, 0.01)
        aim = jnp.where(has, share * gap / s - z, 0)
        rhs = jnp.where(moves[:, None], jnp.stack([aim[0] - aim[1] - dual, e], axis=1), 0)
        y = _newton(qp, moves, z[0] / s[0] + z[1] / s[1] + scales.ridge, rhs)
        ey, gamma = e @ y
        dnu = jnp.where(gamma > 0, (ey + excess) / jnp.where(gamma > 0, gamma, 1), 0)
        dx = y[:, 0] - y[:, 1] * dnu
        dz = aim - sign * z / s * dx[None, :]
        approach = jnp.where(has, jnp.stack([-sign * dx[None, :] / s, -dz / z]), 0)
        length = jnp.minimum(1, 0.995 / jnp.maximum(jnp.max(approach), 0.5))
        usable = (error > tol) & jnp.isfinite(dnu + length)
        new = x + length * dx, nu + length * dnu, z + length * dz
        keep = jax.tree.map(lambda fresh, old: jnp.where(usable, fresh, old), new, (x, nu, z))
        return (*keep, length, usable, steps + 1)

    ends = jnp.where(has, bounds, jnp.where(has[::-1], bounds[::-1] - 2 * sign, 0))
    x = jnp.where(moves, (ends[0] + ends[1]) / 2, qp.lower)
    none = jnp.zeros((), dtype)
    start = (x, none, jnp.where(has, scales.floor, 0), none, jnp.bool_(True), jnp.int32(0))
    x, nu, z, _, _, steps = lax.while_loop(lambda s: s[4] & (s[5] < max_steps), body, start)
    s = slacks(x)
    at = has & (z > s) & (s <= s[::-1])
    return Inside(Sets(at[0] | ~moves, at[1] & ~at[0]), x, nu, steps)


def _newton(
    qp: BoxQP, moves: Bool[Array, " n"], barrier: Float[Array, " n"], rhs: Float[Array, "n 2"]
) -> Float[Array, "n 2"]:
    """(Q + diag(barrier))^-1 rhs over the variables that move; zero for the others."""
    if not isinstance(qp.Q, Product):
        inner = jnp.where(moves[:, None] & moves[None, :], qp.Q, 0)
        inner = inner + jnp.diag(jnp.where(moves, barrier, 1))
        return cho_solve((lax.linalg.cholesky(inner, symmetrize_input=False), True), rhs)
    # By the matrix inversion lemma, in as many unknowns as Q has rank. It cancels where the
    # barrier is small; a step of refinement makes up for that.
    Z = qp.Q.factor
    inverse = jnp.where(moves, 1 / barrier, 0)[:, None]
    inner = Z.T @ (inverse * Z) + jnp.eye(Z.shape[1], dtype=Z.dtype)
    chol = lax.linalg.cholesky(inner, symmetrize_input=False)

    def solve(rhs):
        y = inverse * rhs
        return y - inverse * (Z @ cho_solve((chol, True), Z.T @ y))

    y = solve(rhs)
    return y + solve(jnp.where(moves[:, None], rhs - barrier[:, None] * y - Z @ (Z.T @ y), 0))
