"""Quadratic programs with a box and one equality: primal-dual active sets, interior point in
reserve, every answer polished to working precision on its face.
"""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from .._solver import AbstractSolver, Point
from ..problems import BoxQP
from ..results import ACTIVE_SET, CONVERGED, INFEASIBLE, NON_FINITE
from . import _face
from ._face import Face, Sets, Unknowns
from ._interior_point import interior_point


class ActiveSet(AbstractSolver):
    """Primal-dual active sets (Hintermueller, Ito & Kunisch 2002, a semismooth Newton method).

    Each update solves the KKT system of the current face exactly and exchanges all violated
    indices at once; it ends on the face of the solution, where nothing but rounding is left. From
    a good start (`warm`) it takes one to a few updates, each as dear as the Cholesky factor of
    the free block. It may cycle when Q is singular; after `max_updates` an interior point method
    finds the face and the updates settle it.
    """

    max_updates: int = 20
    max_interior_steps: int = 60

    def cold(self, problem: BoxQP) -> Sets:
        return Sets(jnp.zeros(problem.q.shape, bool), jnp.zeros(problem.q.shape, bool))

    def run(self, problem: BoxQP, warm: Sets) -> Point:
        qp = problem
        n, dtype = qp.q.shape[0], qp.q.dtype
        fixed = _face.pinned(qp)
        # bounds may have become infinite or pinned since
        sets = Sets(
            (warm.lower & jnp.isfinite(qp.lower) & ~warm.upper) | fixed,
            warm.upper & jnp.isfinite(qp.upper) & ~fixed,
        )

        eps = jnp.finfo(dtype).eps
        e, b = _face.equality(qp)
        usable = (e != 0) & ~fixed
        scales = _face.scales(qp)

        def update(state):
            sets, _, _, _, count, interior, _ = state
            sets, interior = lax.cond(
                count == self.max_updates,
                lambda: interior_point(qp, scales, self.max_interior_steps),
                lambda: (sets, interior),
            )
            u, face, last, interval = _face.solve(qp, sets, scales)
            x = _face.primal(qp, u.x, sets)
            slope = qp.Q @ x + qp.q + u.nu * e
            size, steep, residual, noise = _largest(x, slope, jnp.where(sets.free, slope, 0), last)
            excess, terms = jnp.stack([e, jnp.abs(e)]) @ jnp.stack([x, jnp.abs(x)], axis=1)
            excess, terms = excess[0] - b, terms[1] + jnp.abs(b)

            # A violation smaller than rounding is none: exchanging it back and forth never ends.
            close = jnp.minimum(8 * noise + 64 * eps * size, eps**0.625 * size)
            flat = 64 * eps * (scales.floor + steep)
            low, high = sets.free & (x < qp.lower - close), sets.free & (x > qp.upper + close)
            lower = low | (sets.lower & (slope > -flat)) | fixed
            upper = high | (sets.upper & (slope < flat) & ~fixed)
            low, high = sets.free & (x <= qp.lower + close), sets.free & (x >= qp.upper - close)
            changed, inside = _largest(
                (lower != sets.lower) | (upper != sets.upper), usable & sets.free & ~low & ~high
            )
            some = face.gamma > 0
            # Free variables that all lie at a bound go there: the multiplier is an interval then,
            # and the middle of it is the answer whichever way one came.
            alone = some & (inside == 0)
            lower, upper = lower | (low & usable & alone), upper | (high & ~low & usable & alone)
            # With nothing free, no multiplier mends the equality: free what it reaches first.
            unmet = jnp.abs(excess) > jnp.where(some, eps**0.5, 64 * eps) * terms
            reached = jnp.where(excess > 0, interval.ends[1], interval.ends[0])
            freed = reached & ~some & unmet
            lower, upper = lower & ~freed, upper & ~freed

            settled = (changed == 0) & ~alone & ~unmet
            settled &= residual <= eps**0.5 * (scales.floor + steep)
            finite = jnp.isfinite(size + steep + u.nu + excess)
            # from a broken face, straight on to the interior point, or to the end
            budget = jnp.where(count < self.max_updates, self.max_updates, 2 * self.max_updates)
            count = jnp.where(finite, count + 1, budget).astype(jnp.int32)
            return Sets(lower, upper), u, face, settled & finite, count, interior, slope < 0

        def unsettled(state):
            return ~state[3] & (state[4] < 2 * self.max_updates)

        zero, nothing, none = jnp.int32(0), jnp.zeros(n, dtype), jnp.zeros((), dtype)
        indices = jnp.zeros(n, jnp.int32)
        square = jnp.zeros((n, n), dtype)
        # overwritten by the first update
        face = Face(sets, indices, indices, zero, square, nothing, none, nothing, none)
        start = (sets, Unknowns(nothing, none), face, jnp.bool_(False), zero, zero, fixed)
        end = lax.while_loop(unsettled, update, start)
        _, u, face, settled, updates, interior, up = end
        # A pinned variable follows, when its bounds part, the one that it presses against.
        sets = Sets(face.sets.lower & ~(fixed & up), face.sets.upper | (fixed & up))
        face = eqx.tree_at(lambda f: f.sets, face, sets)

        result = jnp.where(settled, CONVERGED, ACTIVE_SET)
        # comparisons with a NaN bound are false, so that only looking for it finds it
        usual = jnp.all(jnp.isfinite(u.x) & ~jnp.isnan(qp.lower) & ~jnp.isnan(qp.upper))
        result = jnp.where(usual, result, NON_FINITE)
        result = jnp.where(_infeasible(qp), INFEASIBLE, result).astype(jnp.int32)
        stats = {"steps": updates, "interior_steps": interior, "free": face.position[-1] + 1}
        return Point(u, face, face.sets, result, stats)

    def conditions(self, problem: BoxQP, unknowns: Unknowns, frozen: Face) -> Unknowns:
        return _face.conditions(problem, unknowns, frozen)

    def value(self, problem: BoxQP, unknowns: Unknowns, frozen: Face) -> tuple[Array, Array]:
        """(x, multiplier of the equality)."""
        return _face.primal(problem, unknowns.x, frozen.sets), unknowns.nu

    def backsolve(self, problem: BoxQP, frozen: Face, rhs: Unknowns) -> Unknowns:
        return _face.backsolve(problem, frozen, rhs)

    def slack(self, problem: BoxQP, unknowns: Unknowns, frozen: Face) -> Array:
        """Per variable: distance of a free one to its nearer bound; multiplier of a bound one."""
        qp, sets = problem, frozen.sets
        x, nu = self.value(qp, unknowns, frozen)
        slope = _face.slope(qp, x, nu)
        at_bound = jnp.where(_face.pinned(qp), jnp.inf, jnp.where(sets.upper, -slope, slope))
        return jnp.where(sets.free, jnp.minimum(x - qp.lower, qp.upper - x), at_bound)


def _largest(*rows: Array) -> Array:
    """Largest magnitude of each of several vectors, in one reduction."""
    dtype = jnp.result_type(float, *(row for row in rows if row.dtype != bool))
    return jnp.max(jnp.stack([jnp.abs(row.astype(dtype)) for row in rows]), axis=1)


def _infeasible(qp: BoxQP) -> Array:
    e, b = _face.equality(qp)
    ends = jnp.where(e == 0, 0, e * qp.lower), jnp.where(e == 0, 0, e * qp.upper)
    least, most = jnp.sum(jnp.stack([jnp.minimum(*ends), jnp.maximum(*ends)]), axis=1)
    slop = 64 * jnp.finfo(qp.q.dtype).eps * (jnp.abs(b) + 1)
    return (least > b + slop) | (most < b - slop)
