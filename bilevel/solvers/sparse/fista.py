"""FISTA, then Newton's method on the face: any smooth loss with any penalty."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from ..._solver import AbstractSolver, Point
from ..._tree import all_finite, norm
from ...penalties import AbstractPenalty
from ...problems.composite import Composite
from ...results import CONVERGED, MAX_STEPS, NON_FINITE
from .. import _cholesky
from . import _support
from ._support import Place, Support

MEASURED = 1024
"""Unknowns up to which the curvature in each is measured, by as many Hessian products."""


class Face(eqx.Module):
    """The face of a solution, as `penalty.face` returns it, and the factorised Hessian along it."""

    face: Array
    support: Support


class FISTA(AbstractSolver):
    """FISTA (Beck & Teboulle 2009) with backtracking and adaptive restart (O'Donoghue & Candes
    2015), then Newton's method on the face, for `Composite` problems.

    Where the penalty is a sum over coordinates, each has a step of its own, by the curvature of the
    loss in it (for up to some thousand unknowns). FISTA runs until the face stays for some steps.
    Newton steps along that face make the solution exact. If the optimality conditions do not hold
    then, FISTA continues.

    - `max_steps`: proximal steps in total, at most.
    - `patience`: steps for which the face must stay before Newton's method; doubled after each
      attempt that fails.
    - `max_newton_steps`: Newton steps per attempt, at most.

    The kept factor is that of the Hessian over the free coordinates, computed by one Hessian
    product for each of them, in one batch: suitable for supports of up to some thousand.
    """

    max_steps: int = 20_000
    patience: int = 10
    max_newton_steps: int = 20

    def cold(self, problem: Composite) -> PyTree:
        return problem.start

    def run(self, problem: Composite, warm: PyTree) -> Point:
        w, unravel = ravel_pytree(warm)
        penalty = problem.penalty.flat(problem.start)
        dtype, eps = w.dtype, jnp.finfo(w.dtype).eps
        metric = _metric(problem, penalty, w)
        value_and_grad = jax.value_and_grad(lambda w: problem.loss(unravel(w), problem.args))

        def forward(y, value, slope, steep):
            """A proximal step from y, so short that the loss is below its quadratic model."""

            def body(state):
                steep, first, *_ = state
                steep = jnp.where(first, steep, 2 * steep)
                new = penalty.prox(y - slope / (steep * metric), 1 / (steep * metric))
                new_value, new_slope = value_and_grad(new)
                move = new - y
                bend = 0.5 * steep * (metric * move @ move)
                good = new_value <= value + move @ slope + bend + 8 * eps * jnp.abs(value)
                # slopes give the curvature if differences of values are below rounding
                good |= (new_slope - slope) @ move <= bend
                return steep, jnp.bool_(False), new, new_value, new_slope, good

            def go(state):
                return ~state[5] & (state[0] < 1 / eps**2)

            start = (steep, jnp.bool_(True), y, value, slope, jnp.bool_(False))
            steep, _, new, new_value, new_slope, _ = lax.while_loop(go, body, start)
            return steep, new, new_value, new_slope

        def step(state):
            x, slope, y, y_value, y_slope, t, steep, face, stayed, count = state
            steep, new, value, slope = forward(y, y_value, y_slope, 0.9 * steep)
            restart = metric * (y - new) @ (new - x) > 0
            t_new = jnp.where(restart, 1, 0.5 + 0.5 * jnp.sqrt(1 + 4 * t * t))
            ahead = jnp.where(restart, 0, (t - 1) / t_new)
            y = new + ahead * (new - x)
            y_value, y_slope = lax.cond(
                ahead == 0, lambda: (value, slope), lambda: value_and_grad(y)
            )
            new_face = penalty.face(new)
            stayed = jnp.where(jnp.all(new_face == face), stayed + 1, 0)
            return new, slope, y, y_value, y_slope, t_new, steep, new_face, stayed, count + 1

        def body(state):
            x, slope, _, steep, patience, count, _, terms = state

            def go(inner):
                return (inner[8] < patience) & (inner[9] < self.max_steps)

            value, slope = value_and_grad(x)
            terms = jnp.maximum(terms, jnp.max(jnp.abs(slope)))
            one = jnp.ones((), dtype)
            start = (x, slope, x, value, slope, one, steep, penalty.face(x), jnp.int32(0), count)
            x, slope, _, _, _, _, steep, face, _, count = lax.while_loop(go, step, start)
            w, w_slope, support, settled = _newton(
                value_and_grad, penalty, x, face, self.max_newton_steps, terms
            )
            scaled = _scaled_slack(penalty, w, w_slope, face, jnp.max(jnp.abs(slope)))
            settled &= jnp.min(scaled, initial=jnp.inf) >= -64 * eps
            kept = jnp.where(settled, w, x)
            return (
                kept,
                jnp.where(settled, w_slope, slope),
                Face(face, support),
                steep,
                2 * patience,
                count,
                settled,
                terms,
            )

        def unsettled(state):
            return ~state[6] & (state[5] < self.max_steps) & all_finite(state[:2])

        w = penalty.prox(w, jnp.zeros((), dtype))
        face, d = penalty.face(w), w.size
        nowhere = jnp.zeros(d, jnp.int32)
        place = Place(nowhere, nowhere, jnp.int32(0))
        blank = Support(penalty.free(face), place, jnp.zeros((d, d), dtype))
        start = (w, jnp.zeros_like(w), Face(face, blank), jnp.ones((), dtype),
                 jnp.int32(self.patience), jnp.int32(0), jnp.bool_(False),
                 jnp.zeros((), dtype))  # fmt: skip
        w, slope, frozen, _, _, count, settled, _ = lax.while_loop(unsettled, body, start)
        finite = all_finite((w, slope))
        result = jnp.where(settled, CONVERGED, jnp.where(finite, MAX_STEPS, NON_FINITE))
        stats = {"steps": count, "support": jnp.sum(frozen.support.free, dtype=jnp.int32)}
        unknowns = jnp.where(frozen.support.free, w, 0)
        return Point(unknowns, frozen, unravel(w), result.astype(jnp.int32), stats)

    def conditions(self, problem: Composite, unknowns: Array, frozen: Face) -> Array:
        penalty, w, slope = _at(problem, unknowns, frozen)
        slope = slope + jax.grad(penalty.smooth)(w, frozen.face)
        return jnp.where(frozen.support.free, slope, unknowns)

    def value(self, problem: Composite, unknowns: Array, frozen: Face) -> PyTree:
        penalty = problem.penalty.flat(problem.start)
        return ravel_pytree(problem.start)[1](_place(penalty, unknowns, frozen.face))

    def backsolve(self, problem: Composite, frozen: Face, rhs: Array) -> Array:
        return _support.backsolve(frozen.support, rhs)

    def slack(self, problem: Composite, unknowns: Array, frozen: Face) -> Array:
        """`penalty.slack`: distances in w relative to the largest |w|, distances in the slope
        relative to the steepest slope of the loss, at w or at the start.
        """
        penalty, w, slope = _at(problem, unknowns, frozen)
        begin = jax.grad(problem.loss)(problem.start, problem.args)
        return _scaled_slack(
            penalty, w, slope, frozen.face, jnp.max(jnp.abs(ravel_pytree(begin)[0]))
        )


def _metric(problem: Composite, penalty: AbstractPenalty, w: Array) -> Array:
    """Curvatures in which lengths are measured, so that columns in any units take alike steps: of
    the loss in each coordinate, at w; or 1, where one step must do or they are too many.
    """
    if not penalty.separable or w.size > MEASURED:
        return jnp.ones((), w.dtype)
    unravel = ravel_pytree(problem.start)[1]
    _, product = jax.linearize(jax.grad(lambda w: problem.loss(unravel(w), problem.args)), w)
    curvature = jax.vmap(lambda e: e @ product(e))(jnp.eye(w.size, dtype=w.dtype))
    largest = jnp.max(curvature)
    least = jnp.where(largest > 0, jnp.finfo(w.dtype).eps * largest, 1)
    return jnp.where(jnp.isfinite(largest), jnp.maximum(curvature, least), 1)


def _place(penalty: AbstractPenalty, unknowns: Array, face: Array) -> Array:
    return jnp.where(penalty.free(face), unknowns, penalty.fixed(face))


def _at(problem: Composite, unknowns: Array, frozen: Face) -> tuple[AbstractPenalty, Array, Array]:
    """(flat penalty, point, slope of the loss)."""
    unravel = ravel_pytree(problem.start)[1]
    penalty = problem.penalty.flat(problem.start)
    w = _place(penalty, unknowns, frozen.face)
    return penalty, w, jax.grad(lambda w: problem.loss(unravel(w), problem.args))(w)


def _scaled_slack(penalty, w, slope, face, steep) -> Array:
    inside, outside = penalty.slack(w, slope, face)
    largest = jnp.max(jnp.abs(w))
    steep = jnp.maximum(steep, jnp.max(jnp.abs(slope)))
    largest, steep = (lax.stop_gradient(jnp.where(s > 0, s, 1)) for s in (largest, steep))
    return jnp.minimum(inside / largest, outside / steep)


def _newton(
    value_and_grad: Callable[[Array], tuple[Array, Array]],
    penalty: AbstractPenalty,
    w: Array,
    face: Array,
    max_steps: int,
    steep: Array,
) -> tuple[Array, Array, Support, Array]:
    """Newton's method along a face, of a loss with slopes as large as `steep`: (point, slope of
    the loss, factor, whether it settled).
    """
    free = penalty.free(face)
    index, position, count = _support.gather(free)
    sizes = _support.buckets(w.size)
    bucket = _support.bucket_of(count, sizes)
    eps = jnp.finfo(w.dtype).eps

    def slope_along(w):
        _, slope = value_and_grad(w)
        return slope + jax.grad(penalty.smooth)(w, face), slope

    def of_size(k: int):
        def branch():
            chosen = index[:k]
            inside = free[chosen]

            def hessian(w):
                directions = jnp.where(
                    inside[:, None], jax.nn.one_hot(chosen, w.size, dtype=w.dtype), 0
                )
                _, product = jax.linearize(lambda w: slope_along(w)[0], w)
                block = jax.vmap(product)(directions)[:, chosen]
                block = _support.raised(0.5 * (block + block.T))
                chol = _support.masked_cholesky(block, inside)
                # A direction without curvature: rounding would send the step along it, anywhere.
                pivots = jnp.diagonal(chol) ** 2 / jnp.diagonal(block)
                flat = jnp.min(jnp.where(inside, pivots, 1)) < 1000 * k * eps
                damped = block + eps**0.5 * jnp.diag(jnp.diagonal(block))
                return lax.cond(
                    flat, lambda: _support.masked_cholesky(damped, inside), lambda: chol
                )

            def body(state):
                w, (along, _), _, before, _, step = state
                chol = hessian(w)
                move = _cholesky.solve(chol, jnp.where(inside, along[chosen], 0))
                w = w.at[chosen].add(-move)
                length = norm(move)
                size = norm(w)
                # over: the step is at rounding, or rounding prevents a shorter one
                over = (length <= 4 * eps * size) | (
                    (length <= eps**0.625 * size) & (length > 0.25 * before)
                )
                return w, slope_along(w), chol, length, over, step + 1

            def go(state):
                return ~state[4] & (state[5] < max_steps) & jnp.isfinite(state[3])

            far = jnp.full((), jnp.finfo(w.dtype).max, w.dtype)
            start = (
                w,
                slope_along(w),
                jnp.zeros((k, k), w.dtype),
                far,
                jnp.bool_(False),
                jnp.int32(0),
            )
            new, (along, slope), chol, _, over, _ = lax.while_loop(go, body, start)
            # Where the Hessian is singular, steps never end, but the slope does.
            left = jnp.max(jnp.abs(jnp.where(inside, along[chosen], 0)), initial=0)
            over |= left <= 16 * eps * steep
            padded = jnp.zeros((w.size, w.size), w.dtype).at[:k, :k].set(chol)
            return new, slope, padded, over

        return branch

    new, slope, chol, over = _support.switch(bucket, sizes, of_size)
    return new, slope, Support(free, Place(index, position, bucket), chol), over
