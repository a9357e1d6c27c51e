"""Base of the solvers of constrained problems: interior point, then Newton on the conditions."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

from ..._solver import AbstractSolver, Point
from ..._tree import all_finite
from ...problems.box_qp import BoxQP
from ...results import (
    ACTIVE_SET,
    CONVERGED,
    DEGENERATE,
    INFEASIBLE,
    MAX_STEPS,
    NON_FINITE,
    UNBOUNDED,
)
from . import _barrier
from ._barrier import Iterate, Scales, magnitude
from ._kkt import (
    Factor,
    Flat,
    KKTPoint,
    Local,
    Pins,
    constrained,
    factorise,
    pins,
    units,
)


class Warm(eqx.Module):
    """The point of an earlier solve, or a cold start unless `known`."""

    x: Float[Array, " n"]
    y: Float[Array, " c"]
    active: Bool[Array, " m"]
    known: Bool[Array, ""]


class Face(eqx.Module):
    """The active inequalities, the factorised KKT matrix, in `units` of the variables, and the
    units of distances to the next change: `force` for multipliers, `length` for constraints.
    """

    active: Bool[Array, " m"]
    factor: Factor
    units: Float[Array, " n"]
    force: Float[Array, " m"]
    length: Float[Array, " m"]
    regular: Bool[Array, ""]  # solved, and the KKT matrix is not singular
    pins: Pins | None  # of a box


class Rows(eqx.Module):
    """The inequalities in the conditions: which ones enter the Lagrangian, their conditions, and
    minus the derivative of these in their own multiplier (in x it is the kept gradient).
    """

    keep: Bool[Array, " m"]
    residual: Float[Array, " m"]
    D: Float[Array, " m"]


class State(eqx.Module):
    """State of a loop whose steps are the interior point's or, if `polishing`, Newton's."""

    it: Iterate
    scales: Scales
    fresh: Bool[Array, ""]  # before the first interior-point step
    x: Float[Array, " n"]
    y: Float[Array, " c"]
    face: Face
    polishing: Bool[Array, ""]
    last: Bool[Array, ""]  # this attempt to polish is the last
    target: Float[Array, ""]
    before: Float[Array, ""]
    updates: Int[Array, ""]
    interior: Int[Array, ""]
    total: Int[Array, ""]
    residual: Float[Array, ""]
    seen: Bool[Array, ""]  # Newton has settled on a degenerate face
    result: Int[Array, ""]


UPDATES = 12
"""Newton steps per attempt; on the right face they are four or five."""

RUNNING = -1


class AbstractKKTSolver(AbstractSolver):
    """Interior point until `target`, then Newton on the conditions until rounding. If Newton does
    not settle, the interior point continues.
    """

    max_steps: eqx.AbstractVar[int]

    @abc.abstractmethod
    def barrier(self) -> float:
        """The complementarity s lam of the solution."""

    @abc.abstractmethod
    def rows(self, g: Array, lam: Array, active: Array) -> Rows:
        """The conditions on the inequalities; differentiable."""

    @abc.abstractmethod
    def update(self, g: Array, lam: Array, active: Array, tolerances: tuple[Array, Array]) -> Array:
        """The active set after a step to g and lam; violations within tolerance do not count."""

    @abc.abstractmethod
    def margin(self, g: Array, lam: Array, face: Face) -> Array:
        """Per inequality, the scaled distance to a change; <= 0 if it is about to change."""

    def cold(self, problem: PyTree) -> Warm:
        flat = Flat(constrained(problem))
        y = jnp.zeros(flat.p + flat.m, flat.start.dtype)
        return Warm(flat.start, y, jnp.zeros(flat.m, bool), jnp.bool_(False))

    def run(self, problem: PyTree, warm: Warm) -> Point:
        flat = Flat(constrained(problem), units(problem))
        dtype = flat.start.dtype
        eps = float(jnp.finfo(dtype).eps)
        floor = eps**0.25 if self.barrier() == 0 else min(eps**0.25, 0.1 * self.barrier())
        one, zero, no = jnp.ones((), dtype), jnp.int32(0), jnp.bool_(False)
        n, k = flat.start.size, flat.p + flat.m
        shapes = jax.eval_shape(
            factorise, jnp.zeros((n, n), dtype), jnp.zeros((k, n), dtype), jnp.zeros(k, dtype)
        )
        factor = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
        ones = jnp.ones(flat.m, dtype)
        start = State(
            it=eqx.tree_at(lambda i: i.y, _barrier.blank(flat), jnp.zeros(k, dtype)),
            scales=Scales(one, jnp.ones(k, dtype)), fresh=jnp.bool_(True),
            x=warm.x / flat.units.x, y=warm.y,
            face=Face(warm.active, factor, flat.units.x, ones, ones, no, pins(problem)),
            polishing=warm.known, last=no, target=floor * one, before=jnp.inf * one,
            updates=zero, interior=zero, total=zero, residual=jnp.inf * one,
            seen=no, result=jnp.int32(RUNNING),
        )  # fmt: skip

        def body(state):
            x = jnp.where(state.polishing, state.x, state.it.x)
            inside = state.it.y * state.scales.rows / state.scales.cost
            y = jnp.where(state.polishing, state.y, jnp.where(state.fresh, 0, inside))
            local = flat.local(x, y)
            return lax.cond(
                state.polishing,
                lambda: self._polish(flat, local, state),
                lambda: self._interior(flat, local, state),
            )

        end = lax.while_loop(lambda s: s.result == RUNNING, body, start)
        solved = (end.result == CONVERGED) | (end.result == DEGENERATE)
        p, k, x = flat.p, flat.p + flat.given, end.x * flat.units.x
        face = eqx.tree_at(
            lambda f: (f.regular, f.pins),
            end.face,
            (end.face.regular & solved, pins(problem, x, end.y[:p])),
            is_leaf=lambda leaf: leaf is None,
        )
        unknowns = KKTPoint(flat.unravel(x), end.y[:p], end.y[p:k])
        stats = {"steps": end.interior, "updates": end.total, "residual": end.residual}
        warm = Warm(x, end.y, end.face.active, end.result == CONVERGED)
        return Point(unknowns, face, warm, end.result, stats)

    def _interior(self, flat: Flat, local: Local, state: State) -> State:
        eps = float(jnp.finfo(flat.start.dtype).eps)
        scales = _barrier.scales(local)
        scale = jax.tree.map(lambda a, b: jnp.where(state.fresh, a, b), scales, state.scales)
        local = local.scaled(scale.cost, scale.rows)
        begun = _barrier.begin(local, state.it)
        it = jax.tree.map(lambda a, b: jnp.where(state.fresh, a, b), begun, state.it)

        left = _barrier.errors(local, it, flat.start)
        wanted = scale.cost * self.barrier()
        close = left.total if self.barrier() == 0 else jnp.maximum(left.barrier, it.mu - wanted)
        end = close <= state.target * (1 if self.barrier() == 0 else scale.cost)
        stuck = (it.stalls > _barrier.PATIENCE) | (state.interior >= self.max_steps)
        result = jnp.where(left.unbounded, UNBOUNDED, RUNNING)
        result = jnp.where(left.infeasible & ~state.fresh, INFEASIBLE, result)
        result = jnp.where(left.finite, result, NON_FINITE).astype(jnp.int32)

        floor = jnp.maximum(wanted, 0.1 * eps**0.625)
        new = _barrier.tighten(local, it, left, floor)
        new = _barrier.step(flat, scale, local, new, floor)
        polish = end | stuck
        it = jax.tree.map(lambda a, b: jnp.where(polish, a, b), it, new)

        p = flat.p
        active = it.y[p:] > it.s if self.barrier() == 0 else jnp.ones(flat.m, bool)
        keep = jnp.concatenate([jnp.ones(p, bool), active])
        y = jnp.where(keep, it.y * scale.rows / scale.cost, 0)
        return State(
            it=it, scales=scale, fresh=jnp.bool_(False), x=it.x, y=y,
            face=eqx.tree_at(lambda f: f.active, state.face, active), polishing=polish,
            last=stuck | (state.target <= eps**0.625), target=state.target,
            before=jnp.full_like(state.before, jnp.inf), updates=jnp.int32(0),
            interior=state.interior + jnp.where(polish, 0, 1), total=state.total,
            residual=left.total, seen=state.seen, result=result,
        )  # fmt: skip

    def _polish(self, flat: Flat, local: Local, state: State) -> State:
        eps, p = float(jnp.finfo(flat.start.dtype).eps), flat.p
        g, lam = local.c[p:], state.y[p:]
        norms = jnp.sqrt(jnp.sum(local.J[p:] ** 2, axis=1))
        steep = flat.units.slope + magnitude(local.gradient)
        far = flat.units.length + magnitude(state.x)
        length = far * jnp.where(norms > 0, norms, 1)
        force = steep / jnp.where(norms > 0, norms, 1)
        noise = 64 * eps + jnp.minimum(8 * state.before, eps**0.625)
        active = self.update(g, lam, state.face.active, (noise * length, noise * force))
        same = jnp.all(active == state.face.active)

        rows = self.rows(g, lam, active)
        keep = jnp.concatenate([jnp.ones(p, bool), rows.keep])
        D = jnp.concatenate([jnp.zeros(p, g.dtype), rows.D])
        J = jnp.where(keep[:, None], local.J, 0)
        factor = factorise(local.H, J, D)
        dual = local.gradient + state.y @ J
        residual = jnp.concatenate([local.c[:p], rows.residual])
        dx, dy = factor.solve(-dual, -residual)
        x, y = state.x + dx, jnp.where(keep, state.y + dy, 0)
        step = jnp.maximum(magnitude(dx) / far, magnitude(dy) / (1 + magnitude(state.y)))
        rough = eps**0.5
        settled = same & ((step <= 4 * eps) | ((step < rough) & (step > 0.25 * state.before)))
        settled &= magnitude(dual) <= rough * (steep + magnitude(state.y))
        singular = ~factor.curved | ~factor.independent
        regular = settled & ~singular
        face = Face(active, factor, flat.units.x, force, length, regular, state.face.pins)
        finite = all_finite((x, y))
        updates = state.updates + 1
        over = settled | (updates >= UPDATES) | ~finite
        margin = jnp.min(self.margin(g + local.J[p:] @ dx, y[p:], face), initial=jnp.inf)
        good = settled & ~singular & (margin > eps**0.75 + 8 * step)
        short = jnp.where(state.interior >= self.max_steps, MAX_STEPS, ACTIVE_SET)
        why = jnp.where(settled, DEGENERATE, short)
        # The same degenerate face twice: the solution is degenerate.
        last = state.last | (settled & state.seen)
        result = jnp.where(good, CONVERGED, jnp.where(over & last, why, RUNNING))
        back = over & ~good & ~last
        lost = over & ~settled
        return State(
            it=state.it, scales=state.scales, fresh=state.fresh,
            x=jnp.where(lost, state.it.x, x), y=jnp.where(lost & ~finite, 0, y), face=face,
            polishing=~back, last=state.last,
            target=jnp.where(back & ~state.fresh, eps**0.125, 1) * state.target,
            before=jnp.where(same, step, jnp.inf), updates=updates, interior=state.interior,
            total=state.total + 1, residual=jnp.maximum(magnitude(dual), magnitude(residual)),
            seen=state.seen | (settled & ~state.fresh), result=result.astype(jnp.int32),
        )  # fmt: skip

    def conditions(self, problem: PyTree, unknowns: KKTPoint, frozen: Face) -> KKTPoint:
        """Gradient of the Lagrangian, equalities, and the conditions of `rows`."""
        flat = Flat(constrained(problem, frozen.pins))
        x, unravel = ravel_pytree(unknowns.x)
        values, pull = jax.vjp(flat.functions, x)
        g = values[1 + flat.p :]
        lam = flat.padded(unknowns.lam)
        rows = self.rows(g, lam, frozen.active)
        weights = jnp.ones(1, x.dtype), unknowns.nu, jnp.where(rows.keep, lam, 0)
        (slope,) = pull(jnp.concatenate(weights))
        residual = rows.residual[: flat.given]
        return KKTPoint(unravel(slope), values[1 : 1 + flat.p], residual)

    def value(self, problem: PyTree, unknowns: KKTPoint, frozen: Face) -> PyTree:
        """`KKTPoint(x, nu, lam)`; for a `BoxQP` (x, multiplier of the equality)."""
        if isinstance(problem, BoxQP) and frozen.pins is not None:
            x = frozen.pins.place(problem, unknowns.x)
            nu = unknowns.nu[0] if problem.e is not None else jnp.zeros((), x.dtype)
            return x, nu
        return unknowns

    def backsolve(self, problem: PyTree, frozen: Face, rhs: KKTPoint) -> KKTPoint:
        x, unravel = ravel_pytree(rhs.x)
        flat = Flat(constrained(problem, frozen.pins))
        p, k = flat.p, flat.p + flat.given
        own, given = frozen.units, jnp.concatenate([rhs.nu, flat.padded(rhs.lam)])
        dx, dy = frozen.factor.solve(own * x, given)
        # A singular system may have solutions, but none is the derivative. Zero makes the residual
        # large, so that the linear solver fails.
        dx, dy = jnp.where(frozen.regular, own * dx, 0), jnp.where(frozen.regular, dy, 0)
        return KKTPoint(unravel(dx), dy[:p], dy[p:k])

    def slack(self, problem: PyTree, unknowns: KKTPoint, frozen: Face) -> Array:
        """`margin` for each inequality, and one entry more: zero for a singular face."""
        flat = Flat(constrained(problem, frozen.pins))
        g = flat.functions(ravel_pytree(unknowns.x)[0])[1 + flat.p :]
        margin = self.margin(g, flat.padded(unknowns.lam), frozen)[: flat.given]
        return jnp.append(margin, jnp.where(frozen.regular, jnp.inf, 0).astype(margin.dtype))
