"""Interior points on the variables in doubt, for many variables and a matrix of low rank."""

import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Float, Int

from ...problems import BoxQP, Product
from .._moments import moments
from ._face import Scales, Sets, equality, pinned, scales
from ._interior_point import Inside, interior_point

LARGE = 4096
"""Variables from which on it pays."""
PART = 8
"""One variable in so many is in doubt."""
STAGES = 8
"""Parts, at most; the problem is solved as a whole after them."""
LEVELS, STEPS = 4, 3
"""Levels of smoothing, and Newton steps on each."""


def shrinking(qp: BoxQP, whole: Scales, max_steps: int) -> Inside:
    """As `interior_point`, for a fraction of its cost.

    Most variables end at a bound, and the slopes of a smoothed problem tell at which one. Only
    those of least |slope| are solved for, by interior points; the others are held at the bound that
    their slope asks for. If some ask for the other bound afterwards, the parts are drawn again
    (shrinking, Joachims 1999).
    """
    assert isinstance(qp.Q, Product)
    factor, count, fixed = qp.Q.factor, qp.q.shape[0] // PART, pinned(qp)
    e, b = equality(qp)
    slop = whole.floor * float(jnp.finfo(factor.dtype).eps) ** 0.4

    def drawn(slope: Float[Array, " n"]) -> tuple[Int[Array, " m"], Float[Array, " n"]]:
        """The variables in doubt, and where the others are held."""
        _, index = lax.top_k(jnp.where(fixed, -jnp.inf, -jnp.abs(slope)), count)
        rises = (slope < 0) | ~jnp.isfinite(qp.lower)
        held = jnp.where(rises & jnp.isfinite(qp.upper) & ~fixed, qp.upper, qp.lower)
        return index.astype(jnp.int32), held.at[index].set(0)

    def stage(state):
        (index, held), _, number, found = state
        part = BoxQP(
            Product(factor[index]),
            qp.q[index] + factor[index] @ (held @ factor),
            qp.lower[index],
            qp.upper[index],
            e[index],
            b - e @ held,
        )
        inside = interior_point(part, scales(part), max_steps)
        x = held.at[index].set(inside.x)
        slope = qp.Q @ x + qp.q + inside.nu * e
        at_upper = held > qp.lower
        wrong = jnp.where(at_upper, slope > slop, slope < -slop) & ~fixed
        sets = Sets(
            (~at_upper).at[index].set(inside.sets.lower), at_upper.at[index].set(inside.sets.upper)
        )
        found = Inside(sets, x, inside.nu, found.steps + inside.steps)
        settled = ~jnp.any(wrong.at[index].set(False)) & jnp.all(jnp.isfinite(slope))
        return drawn(slope), settled, number + 1, found

    def unsettled(state):
        return ~state[1] & (state[2] < STAGES)

    none = jnp.int32(0)
    blank = Inside(Sets(fixed, fixed), jnp.zeros_like(qp.q), jnp.zeros((), qp.q.dtype), none)
    start = (drawn(_smoothed(qp, factor, whole)), jnp.bool_(False), none, blank)
    _, settled, _, found = lax.while_loop(unsettled, stage, start)

    def as_a_whole() -> Inside:
        inside = interior_point(qp, whole, max_steps)
        return inside._replace(steps=found.steps + inside.steps)

    return lax.cond(settled, lambda: found, as_a_whole)


def _smoothed(qp: BoxQP, factor: Float[Array, "n r"], whole: Scales) -> Float[Array, " n"]:
    """Slopes of min 1/2 x'Qx + q'x + smoothing / 2 sum_i (x_i - middle_i)^2 / width_i, by Newton's
    method in v = Z'x and the multiplier: given these, x_i is a slope that is clipped.
    """
    e, b = equality(qp)
    finite = jnp.isfinite(qp.lower) & jnp.isfinite(qp.upper)
    width = jnp.where(finite, qp.upper - qp.lower, 1)
    middle = jnp.where(finite, (qp.lower + qp.upper) / 2, jnp.clip(0, qp.lower, qp.upper))
    part = jnp.where(width > 0, width, 1)

    def value(v, nu, smoothing):
        slope = factor @ v + qp.q + nu * e
        x = jnp.clip(middle - slope * width / smoothing, qp.lower, qp.upper)
        pull = slope * x + 0.5 * smoothing * (x - middle) ** 2 / part
        return 0.5 * (v @ v) + nu * b - jnp.sum(pull), (slope, x)

    def newton(step, state):
        v, nu = state
        smoothing = 2 * whole.floor * 0.25 ** (step // STEPS)
        here, (_, x) = value(v, nu, smoothing)
        inside = (x > qp.lower) & (x < qp.upper)
        rate = jnp.where(inside, width / smoothing, 0)
        hessian = moments(factor, e, rate)
        tiny = 1e-12 * (1 + hessian[-1, -1])  # no variable may be inside
        hessian = hessian + jnp.diag(jnp.append(jnp.ones_like(v), tiny))
        gradient = jnp.append(v - x @ factor, b - e @ x)
        chol = lax.linalg.cholesky(hessian, symmetrize_input=False)
        move = -cho_solve((chol, True), gradient)
        fall = 1e-4 * (gradient @ move)

        def rises(t):
            there, _ = value(v + t * move[:-1], nu + t * move[-1], smoothing)
            return ~(there <= here + t * fall) & (t > 1e-3)

        t = lax.while_loop(rises, lambda t: t / 2, jnp.ones((), v.dtype))
        return v + t * move[:-1], nu + t * move[-1]

    start = jnp.zeros(factor.shape[1], factor.dtype), jnp.zeros((), factor.dtype)
    v, nu = lax.fori_loop(0, LEVELS * STEPS, newton, start)
    return factor @ v + qp.q + nu * e
