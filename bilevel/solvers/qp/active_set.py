"""Quadratic programs with a box and one equality: primal-dual active sets, interior point in
reserve, every answer polished to working precision on its face.
"""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from ..._solver import AbstractSolver, Point
from ...problems import BoxQP, Product
from ...results import ACTIVE_SET, CONVERGED, INFEASIBLE, NON_FINITE
from . import _face
from ._face import Face, Sets, Unknowns
from ._interior_point import Inside, interior_point
from ._shrinking import LARGE, shrinking


class ActiveSet(AbstractSolver):
    """Primal-dual active sets (Hintermueller, Ito & Kunisch 2002, a semismooth Newton method).

    Each update solves the KKT system of the current face exactly and exchanges all violated
    indices at once; it ends on the face of the solution, where nothing but rounding is left. From
    a good start (`warm`) it takes one to a few updates, each at the cost of the Cholesky factor of
    the free block. It may cycle when Q is singular. After `max_updates` an interior point method
    gives a point, and a primal active set method goes on from there: it moves towards the
    solution of its face until a bound is in the way, and exchanges one index at a time, the most
    wrong one for n updates and then the first one (Bland's rule). Where more would be free than a
    matrix of low rank can tell apart, a direction that changes nothing takes one to its bound
    first. Judged by exact arithmetic it cannot cycle; against rounding, every further n updates
    double the tolerance of a multiplier's sign, up to 64 times (no problem that was tried has
    needed that). `ACTIVE_SET` means that the budget ran out, as it does on an unbounded problem.
    """

    solves = BoxQP

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
        budget = self.max_updates + 10 * n
        everything = jnp.arange(n)
        follow = shrinking if isinstance(qp.Q, Product) and n >= LARGE else interior_point
        capacity = _face.buckets(qp)[-1]
        # the multiplier carries the rounding of the largest gradient to every variable
        reach = scales.rows[2] + scales.rows[1] * jnp.sqrt(scales.sigma)

        def update(state):
            sets, start, _, _, _, count, interior, _ = state
            sets, start, interior = lax.cond(
                count == self.max_updates,
                lambda: _within(capacity, qp, follow(qp, scales, self.max_interior_steps)),
                lambda: (sets, start, interior),
            )
            u, face, last, idle = _face.solve(qp, sets, start, scales)
            x = _face.primal(qp, u.x, sets)
            gradient = qp.Q @ x + qp.q
            some = face.gamma > 0
            keys = _face.sides(qp, gradient, sets)
            largest = jnp.max(jnp.concatenate([jnp.abs(jnp.stack([x, last])), keys]), axis=1)
            size, noise = largest[0], largest[1]
            nu = jnp.where(some, u.nu, _face.centre(largest[2:]))
            slope = gradient + nu * e
            sums = scales.rows @ jnp.stack([x, jnp.abs(x)], axis=1)
            excess, terms = sums[0, 0] - b, sums[1, 1] + jnp.abs(b)
            steep = scales.floor + reach * sums[2, 1] + jnp.abs(nu * e)

            # A violation smaller than rounding is none: exchanging it back and forth never ends.
            single = count >= self.max_updates
            rounds = lax.div(jnp.maximum(count - self.max_updates, 0), jnp.int32(n))
            slop = 16 * eps * lax.shift_left(jnp.int32(1), jnp.minimum(rounds, 6)).astype(dtype)
            # wider with nothing free: what one free multiplier passed, the middle passes too
            flat = slop * steep * jnp.where(some, 1, 4)
            close = jnp.minimum(8 * noise + 64 * eps * size, eps**0.625 * size)
            low, high = sets.free & (x < qp.lower - close), sets.free & (x > qp.upper + close)
            lower = low | (sets.lower & (slope > -flat)) | fixed
            upper = high | (sets.upper & (slope < flat) & ~fixed)
            # One exchange at a time: the first bound in the way, or the first wrong multiplier.
            bound = jnp.where(low, qp.lower, qp.upper)
            share = jnp.where(low | high, (bound - start) / (x - start), 2)
            changed = (lower != sets.lower) | (upper != sets.upper)
            wrong = 2 + jnp.where(rounds == 0, flat / (flat + jnp.abs(slope)), 0)
            order = jnp.where(low | high, jnp.clip(share, 0, 1), jnp.where(changed, wrong, 3))
            pick = jnp.argmin(order)
            first = order[pick]

            low, high = sets.free & (x <= qp.lower + close), sets.free & (x >= qp.upper - close)
            inside, residual = jnp.max(
                jnp.stack(
                    [
                        (usable & sets.free & ~low & ~high).astype(dtype),
                        jnp.where(sets.free, jnp.abs(slope) / steep, 0 * slope),
                    ]
                ),
                axis=1,
            )
            # Free variables that all lie at a bound go there: the multiplier is an interval then,
            # and the middle of it is the answer whichever way one came.
            alone = some & (inside == 0) & (~single | (first == 3))
            # With nothing free, no multiplier mends the equality: free what it reaches first.
            unmet = jnp.abs(excess) > jnp.where(some, eps**0.5, 64 * eps) * terms
            settled = (first == 3) & ~alone & ~unmet & (residual <= 4 * slop)
            finite = jnp.isfinite(size + residual + nu + excess)
            settled &= finite
            stay = single & (everything != pick)
            lower, upper = jnp.where(stay, sets.lower, lower), jnp.where(stay, sets.upper, upper)
            moves = sets.free & (single | (first == 3))
            start = jnp.where(moves, start + jnp.minimum(first, 1) * (x - start), start)
            lower, upper = lower | (low & usable & alone), upper | (high & ~low & usable & alone)
            reached = jnp.where(excess > 0, keys[1] == largest[3], keys[0] == largest[2])
            freed = reached & usable & ~some & unmet
            lower, upper = lower & ~freed, upper & ~freed

            # from a broken face, straight on to the interior point, or to the end
            onward = jnp.where(count < self.max_updates, self.max_updates, budget)
            goes_on = finite
            if capacity < n:
                small = jnp.sum(~(lower | upper)) <= capacity
                full = single & ~small
                idled, rested = _idled(qp, sets, start, idle)
                start = jnp.where(full, rested, start)
                lower = jnp.where(full, idled.lower, lower)
                upper = jnp.where(full, idled.upper, upper)
                goes_on &= small | full
            count = jnp.where(goes_on, count + 1, onward).astype(jnp.int32)
            keep = settled | (count >= budget)
            sets = Sets(jnp.where(keep, sets.lower, lower), jnp.where(keep, sets.upper, upper))
            ends = keys, largest[2:], slope < 0
            return sets, start, Unknowns(u.x, nu), face, settled, count, interior, ends

        def unsettled(state):
            return ~state[4] & (state[5] < budget)

        zero, nothing, none = jnp.int32(0), jnp.zeros(n, dtype), jnp.zeros((), dtype)
        indices = jnp.zeros(n, jnp.int32)
        square = jnp.zeros((capacity, capacity), dtype)
        # overwritten by the first update
        face = Face(sets, indices, indices, zero, square, nothing, none, nothing, none)
        ends = jnp.zeros((2, n), dtype), jnp.zeros(2, dtype), fixed
        begin = jnp.where(jnp.sum(sets.free) <= capacity, 0, self.max_updates).astype(jnp.int32)
        start = (sets, nothing, Unknowns(nothing, none), face, jnp.bool_(False), begin, zero, ends)
        end = lax.while_loop(unsettled, update, start)
        _, _, u, face, settled, updates, interior, (keys, best, falls) = end
        # A pinned variable follows, when its bounds part, the one that it presses against.
        up = fixed & falls
        sets = Sets(face.sets.lower & ~up, face.sets.upper | up)
        face = eqx.tree_at(lambda f: (f.sets, f.middle), face, (sets, _face.middle(keys, best)))
        # rounding alone may have left it outside
        x = jnp.where(sets.free, jnp.clip(u.x, qp.lower, qp.upper), 0)
        u = Unknowns(x, u.nu)

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

    def unmet(self, problem: BoxQP, unknowns: Unknowns, frozen: Face) -> tuple[Array, Array]:
        """With no free variable in the equality: its multiplier is the middle of an interval."""
        e, b = _face.equality(problem)
        interval = (frozen.gamma <= 0) & jnp.any((e != 0) & ~_face.pinned(problem))
        excess = e @ _face.primal(problem, unknowns.x, frozen.sets) - b
        return interval, jnp.where(interval, excess, 0)


def _within(capacity: int, qp: BoxQP, inside: Inside) -> tuple[Sets, Array, Array]:
    """Sets, point and steps, with at most so many free variables: the others go to their nearer
    bound.
    """
    sets, x, _, steps = inside
    if capacity == x.size:
        return sets, x, steps
    room = jnp.where(sets.free, jnp.minimum(x - qp.lower, qp.upper - x), -jnp.inf)
    _, kept = lax.top_k(room, capacity)
    out = sets.free & ~jnp.zeros_like(sets.free).at[kept].set(True)
    near_upper = qp.upper - x < x - qp.lower
    return Sets(sets.lower | (out & ~near_upper), sets.upper | (out & near_upper)), x, steps


def _idled(qp: BoxQP, sets: Sets, x: Array, idle: Array) -> tuple[Sets, Array]:
    """The face and the point where the first free variable meets a bound along a direction in which
    neither the objective nor the equality changes.
    """
    moves = sets.free & (idle != 0)
    bound = jnp.where(idle > 0, qp.upper, qp.lower)
    room = jnp.where(moves, (bound - x) / jnp.where(moves, idle, 1), jnp.inf)
    least = jnp.min(room)
    first = (jnp.arange(x.size) == jnp.argmin(room)) & jnp.isfinite(least)
    x = jnp.where(jnp.isfinite(least), x + jnp.maximum(least, 0) * idle, x)
    return Sets(sets.lower | (first & (idle < 0)), sets.upper | (first & (idle > 0))), x


def _infeasible(qp: BoxQP) -> Array:
    e, b = _face.equality(qp)
    ends = jnp.where(e == 0, 0, e * qp.lower), jnp.where(e == 0, 0, e * qp.upper)
    ends = jnp.stack([jnp.minimum(*ends), jnp.maximum(*ends)])
    least, most = ends @ jnp.ones_like(e)  # a product compiles to less than a sum
    slop = 64 * jnp.finfo(qp.q.dtype).eps * (jnp.abs(b) + 1)
    return (least > b + slop) | (most < b - slop)
