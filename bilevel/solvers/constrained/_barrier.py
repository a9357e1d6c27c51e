"""One step of a primal-dual interior point method for smooth problems that need not be convex.

Inequalities have slacks s > 0 with a logarithmic barrier of weight mu. Equalities, and inequalities
with their slacks, enter an augmented Lagrangian of penalty 1 / rho around estimates of the
multipliers, the `anchor` (Armand & Omheni 2017, "A mixed logarithmic barrier-augmented
Lagrangian method for nonlinear optimization"). Its Newton system is

    (H + delta + J' W J) dx = -(gradient + J'(y + W t)),   W = 1 / (rho + (0, s / lam)),

positive definite after the correction delta (its Cholesky factor exists), so that dx descends on

    merit(x, s) = cost - mu sum log s + anchor'c + |c|^2 / (2 rho),   c = (equality, inequality + s)

even if constraints depend on each other or are infeasible.
"""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Bool, Float

from ._kkt import Flat, Local

PATIENCE = 20
"""Consecutive steps without progress after which the method gives up."""


class Scales(eqx.Module):
    """Factors on the cost and on the constraints that make their gradients about one."""

    cost: Float[Array, ""]
    rows: Float[Array, " c"]


class Iterate(eqx.Module):
    """An iterate in scaled units. `y` and `anchor` have the multipliers of both kinds."""

    x: Float[Array, " n"]
    s: Float[Array, " m"]
    y: Float[Array, " c"]
    anchor: Float[Array, " c"]
    mu: Float[Array, ""]
    rho: Float[Array, ""]
    unmet: Float[Array, ""]  # largest violation when the anchor moved last
    delta: Float[Array, ""]  # last correction that was needed
    boost: Float[Array, ""]  # smallest correction to try, after a failed line search
    stalls: Array  # consecutive steps that failed, or were at the smallest barrier


class Errors(eqx.Module):
    """Errors of the problem and of the current barrier problem, and whether the problem looks
    infeasible or unbounded.
    """

    total: Float[Array, ""]
    barrier: Float[Array, ""]
    infeasible: Bool[Array, ""]
    unbounded: Bool[Array, ""]
    finite: Bool[Array, ""]


def magnitude(a: Array) -> Array:
    """Largest magnitude of the entries; zero if a is empty."""
    return jnp.max(jnp.abs(a), initial=0)


def scales(local: Local) -> Scales:
    """The factors at a point. The gradient of a constraint that is far from met, or from active,
    may grow on the way: there its value counts too.
    """
    steep = jnp.maximum(magnitude(local.gradient), magnitude(jnp.diagonal(local.H)))
    size = jnp.sqrt(jnp.sum(local.J**2, axis=1))
    size = jnp.maximum(size, 0.1 * jnp.abs(local.c))
    rows = jnp.where(size > 0, 1 / jnp.where(size > 0, size, 1), 1)
    return Scales(jnp.where(steep > 0, 1 / steep, 1), rows)


def blank(flat: Flat) -> Iterate:
    one, y = jnp.ones((), flat.start.dtype), jnp.zeros(flat.p + flat.m, flat.start.dtype)
    s = jnp.ones(flat.m, flat.start.dtype)
    return Iterate(flat.start, s, y, y, one, one, one, one, one, jnp.int32(0))


def begin(local: Local, it: Iterate) -> Iterate:
    """The first iterate, at `it.x`, where `local` holds."""
    g = local.c[it.y.size - it.s.size :]
    mu = jnp.full_like(it.mu, 0.1)
    s = jnp.maximum(-g, 0.1)
    y = jnp.concatenate([jnp.zeros(it.y.size - it.s.size, g.dtype), mu / s])
    unmet = magnitude(_excess(local, s))
    rho, zero = jnp.full_like(mu, 0.01), jnp.zeros_like(mu)
    return Iterate(it.x, s, y, y, mu, rho, unmet, zero, zero, jnp.int32(0))


def _excess(local: Local, s: Array) -> Array:
    return local.c + jnp.concatenate([jnp.zeros(local.c.size - s.size, s.dtype), s])


def _slacks(it: Iterate, g: Array) -> Array:
    """The minimiser of the merit function in s: the positive root of a quadratic."""
    b = g + it.rho * it.anchor[it.anchor.size - g.size :]
    root = jnp.sqrt(b**2 + 4 * it.rho * it.mu)
    return jnp.where(b > 0, 2 * it.rho * it.mu / (b + root), (root - b) / 2)


def errors(local: Local, it: Iterate, start: Array) -> Errors:
    p, eps = it.y.size - it.s.size, jnp.finfo(it.s.dtype).eps
    c, lam = _excess(local, it.s), it.y[p:]
    # large multipliers mean large terms that cancel
    size = jnp.maximum(1, jnp.sum(jnp.abs(it.y)) / (100 * max(it.y.size, 1)))
    dual = magnitude(local.gradient + it.y @ local.J) / size
    total = jnp.maximum(jnp.maximum(dual, magnitude(c)), magnitude(it.s * lam) / size)
    barrier = jnp.maximum(dual, magnitude(it.s * lam - it.mu) / size)
    barrier = jnp.maximum(barrier, magnitude(c + it.rho * (it.anchor - it.y)))
    violation = jnp.concatenate([local.c[:p], jnp.maximum(local.c[p:], 0)])
    unmet, rough = magnitude(violation), eps**0.375
    near = jnp.where(it.stalls > PATIENCE, eps**0.25, rough)
    infeasible = (unmet > rough) & (magnitude(violation @ local.J) <= near * unmet)
    size = magnitude(it.x)
    unbounded = (size > eps**-0.75 * (1 + magnitude(start))) & (unmet <= rough * size)
    return Errors(total, barrier, infeasible, unbounded, jnp.isfinite(total + local.cost))


def tighten(local: Local, it: Iterate, left: Errors, floor: Array) -> Iterate:
    """Go to the next barrier problem if the current one is solved to its tolerance."""
    eps = float(jnp.finfo(it.s.dtype).eps)
    over = left.barrier <= 10 * it.mu
    unmet = magnitude(_excess(local, it.s))
    better = over & (unmet <= jnp.maximum(0.5 * it.unmet, it.mu))
    mu = jnp.maximum(floor, jnp.minimum(0.2 * it.mu, it.mu**1.5))
    rho = jnp.minimum(it.rho, mu) * jnp.where(better, 1, 0.1)
    return eqx.tree_at(
        lambda i: (i.mu, i.rho, i.anchor, i.unmet),
        it,
        (
            jnp.where(over, mu, it.mu),
            jnp.where(over, jnp.maximum(rho, eps**0.5), it.rho),
            jnp.where(better, it.y, it.anchor),
            jnp.where(better, unmet, it.unmet),
        ),
    )


def step(flat: Flat, scale: Scales, local: Local, it: Iterate, floor: Array) -> Iterate:
    """A step in Newton's direction, with a line search on the merit function."""
    p, n, dtype = flat.p, it.x.size, it.x.dtype
    eps = float(jnp.finfo(dtype).eps)
    lam, zeros = it.y[p:], jnp.zeros(p, dtype)
    c = _excess(local, it.s)
    W = 1 / (it.rho + jnp.concatenate([zeros, it.s / lam]))
    t = local.c + it.rho * (it.anchor - it.y) + jnp.concatenate([zeros, it.mu / lam])
    matrix = local.H + local.J.T @ (W[:, None] * local.J)
    identity = jnp.eye(n, dtype=dtype)
    smallest = jnp.maximum(it.delta / 3, 1e-4)

    def correct(state):
        delta, _, _ = state
        chol = lax.linalg.cholesky(matrix + delta * identity, symmetrize_input=False)
        good = jnp.all(jnp.isfinite(chol))
        return jnp.where(good, delta, jnp.maximum(8 * delta, smallest)), chol, good

    start = it.boost, identity, jnp.bool_(False)
    delta, chol, _ = lax.while_loop(lambda s: ~s[2] & (s[0] < 1e20), correct, start)
    dx = -cho_solve((chol, True), local.gradient + (it.y + W * t) @ local.J)
    dy = W * (t + local.J @ dx)
    dlam = dy[p:]
    ds = (it.mu - it.s * (lam + dlam)) / lam

    def merit(cost, c, s):
        """Its value, and a bound on the rounding of that."""
        log, linear, square = it.mu * jnp.log(s), it.anchor * c, c**2 / (2 * it.rho)
        size = jnp.abs(cost) + jnp.sum(jnp.abs(log)) + jnp.sum(jnp.abs(linear)) + jnp.sum(square)
        return cost - jnp.sum(log) + jnp.sum(linear + square), 8 * eps * size

    pull = it.anchor + c / it.rho
    slope = (local.gradient + pull @ local.J) @ dx + (pull[p:] - it.mu / it.s) @ ds
    value, noise = merit(local.cost, c, it.s)

    factors = jnp.concatenate([scale.cost[None], scale.rows])

    def search(state):
        a, _, _, tries = state
        a = jnp.where(tries > 0, a / 2, a)
        at = factors * flat.functions(it.x + a * dx)
        # s minimises the merit at this x; it falls along s + a ds too, but less
        s = _slacks(it, at[1 + p :])
        new, _ = merit(at[0], at[1:] + jnp.concatenate([zeros, s]), s)
        return a, s, new <= value + 1e-4 * a * slope + noise, tries + 1

    start = jnp.ones((), dtype), it.s, jnp.bool_(False), jnp.int32(0)
    a, s, good, _ = lax.while_loop(lambda s: ~s[2] & (s[3] < 40), search, start)
    x, s = jnp.where(good, it.x + a * dx, it.x), jnp.where(good, s, it.s)
    ratio = jnp.where(dlam < 0, lam / jnp.where(dlam < 0, -dlam, 1), jnp.inf)
    a = jnp.minimum(1, 0.995 * jnp.min(ratio, initial=jnp.inf))
    y = it.y + jnp.where(good, a, 0) * dy
    # a multiplier far from mu / s has no information
    y = jnp.concatenate([y[:p], jnp.clip(y[p:], 1e-8 * it.mu / s, 1e8 * it.mu / s)])
    stalls = jnp.where(good & (it.mu > floor), 0, it.stalls + 1)
    boost = jnp.where(good, 0, jnp.maximum(10 * delta, 1e-4))
    return Iterate(x, s, y, it.anchor, it.mu, it.rho, it.unmet, delta, boost, stalls)
