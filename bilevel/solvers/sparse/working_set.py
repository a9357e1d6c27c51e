"""Penalised least squares: an active-set Newton method on a growing working set of features."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ..._solver import AbstractSolver, Point
from ...problems.penalised_least_squares import PenalisedLeastSquares
from ...results import ACTIVE_SET, CONVERGED, NON_FINITE
from .. import _cholesky
from .._moments import moments
from . import _support
from ._orthant import Minimiser, Quadratic, minimise
from ._support import Place, Support


class Signs(eqx.Module):
    """The face of a solution: signs of the coefficients, and the factorised system of those that
    are not zero.
    """

    sign: Int[Array, " d"]
    support: Support


class End(NamedTuple):
    """Result of a round. `slope` is that of the objective without kinks, at w up to rounding."""

    w: Float[Array, " d"]
    slope: Float[Array, " d"]
    signs: Signs
    noise: Float[Array, ""]
    updates: Int[Array, ""]
    rounds: Int[Array, ""]
    over: Bool[Array, ""]


Ending = tuple[Float[Array, " d"], Float[Array, " n"], Float[Array, " d"]]


class Sparse(eqx.Module):
    """1/2 sum_i weights_i (rows_i'w - y_i)^2 + penalty; `target` has weights_i y_i."""

    rows: Float[Array, "n d"]
    weights: Float[Array, " n"]
    target: Float[Array, " n"]
    low: Float[Array, " d"]
    high: Float[Array, " d"]
    kinkless: Bool[Array, " d"]
    bend: Float[Array, " d"] | None

    def part(self, rows: Float[Array, "n k"], take: Callable[[Array], Array]) -> "Sparse":
        """The same problem for some of the features."""
        bend = None if self.bend is None else take(self.bend)
        strengths = take(self.low), take(self.high), take(self.kinkless)
        return Sparse(rows, self.weights, self.target, *strengths, bend)

    def on(self, w: Float[Array, " d"]) -> Bool[Array, " d"]:
        return (w != 0) | self.kinkless

    def slope(self, w: Float[Array, " d"], residual: Float[Array, " n"]) -> Float[Array, " d"]:
        slope = -(residual @ self.rows)
        return slope if self.bend is None else slope + self.bend * w

    def outside(self, slope: Float[Array, " d"]) -> Float[Array, " d"]:
        """Violation of optimality by a coordinate at zero, if positive."""
        return jnp.maximum(-slope - self.high, slope + self.low)

    def minimise(self, w: Float[Array, " d"], max_updates: int) -> tuple[Ending, Minimiser]:
        """By the Gram matrix of all features: (minimiser, residual, slope)."""
        gram = moments(self.rows, jnp.zeros_like(self.weights), self.weights)[:-1, :-1]
        gram = gram if self.bend is None else gram + jnp.diag(self.bend)
        quadratic = Quadratic(gram, self.target @ self.rows, self.low, self.high, ~self.kinkless)
        face = minimise(quadratic, w, max_updates)
        # By the rows rather than their products, which lose half the digits if features are
        # nearly dependent.
        v, free = face.w, face.sign != 0
        residual = self.target - self.weights * (self.rows @ v)
        slope = self.slope(v, residual)
        along = jnp.where(free, slope + quadratic.slope(face.sign), 0)
        refined = jnp.where(free, v - _cholesky.solve(face.chol, along), 0)
        same = (refined * v > 0) | ~free | self.kinkless
        v = jnp.where(face.settled & jnp.all(same), refined, v)
        return (v, residual, slope), face


class WorkingSet(AbstractSolver):
    """Working sets (as in Celer, Massias et al. 2018), each solved exactly by Newton steps between
    orthants (see `_orthant`), for `PenalisedLeastSquares`.

    A round gathers the features of the support and those of the largest violations, solves their
    problem by its Gram matrix, and tests all features: two passes over the rows. A warm start needs
    one round if the support stays, two if it changes. The support of the LASSO is limited to n + 64
    features; a solution with n exists. Fewer than 80 features are one working set, without rounds.

    - `max_rounds`: working sets, at most.
    - `max_updates`: Newton steps for each, at most.
    """

    max_rounds: int = 50
    max_updates: int = 500

    def cold(self, problem: PenalisedLeastSquares) -> Array:
        return jnp.zeros_like(problem.rows[0])

    def run(self, problem: PenalisedLeastSquares, warm: Array) -> Point:
        sparse = _sparse(problem)
        low, high, kinkless = sparse.low, sparse.high, sparse.kinkless
        may = ((warm > 0) & jnp.isfinite(high)) | ((warm < 0) & jnp.isfinite(low)) | kinkless
        w = jnp.where(may & jnp.isfinite(warm), warm, 0)
        n, d = sparse.rows.shape
        largest = d if sparse.bend is not None else min(d, n + 64)
        one = largest == d and len(_support.buckets(d)) == 1
        end = self._at_once(sparse, w) if one else self._in_rounds(sparse, w, largest)
        result = jnp.where(end.over, CONVERGED, ACTIVE_SET)
        # Comparisons with a NaN strength are False, so that it must be tested for.
        usual = jnp.all(jnp.isfinite(end.w + end.slope) & ~jnp.isnan(low) & ~jnp.isnan(high))
        result = jnp.where(usual, result, NON_FINITE).astype(jnp.int32)
        support = jnp.sum(end.signs.support.free, dtype=jnp.int32)
        stats = {"steps": end.updates, "rounds": end.rounds, "support": support}
        return Point(end.w, end.signs, end.w, result, stats)

    def _at_once(self, sparse: Sparse, w: Array) -> End:
        """With all features as the working set."""
        (w, _, slope), face = sparse.minimise(w, self.max_updates)
        free, noise = face.sign != 0, 4 * face.noise
        over = face.settled & ~jnp.any(~free & (sparse.outside(slope) > noise))
        signs = Signs(face.sign, Support(free, None, face.chol))
        return End(w, slope, signs, noise, face.updates, jnp.int32(1), over)

    def _in_rounds(self, sparse: Sparse, w: Array, largest: int) -> End:
        """In rounds, of working sets with at most `largest` features."""
        d, dtype, sizes = w.size, w.dtype, _support.buckets(largest)

        def body(end: End) -> End:
            on = sparse.on(end.w)
            excess = jnp.where(on, jnp.inf, sparse.outside(end.slope))
            inside = jnp.sum(on, dtype=jnp.int32)
            violating = jnp.sum(excess > end.noise, dtype=jnp.int32)
            # The support may double, at least to 64.
            want = jnp.minimum(jnp.maximum(2 * inside, 64), violating)
            bucket = _support.bucket_of(jnp.maximum(want, inside), sizes)
            _, first = lax.top_k(excess, largest)

            def of_size(k: int):
                def branch():
                    index, chosen = first, sparse
                    if k == d:  # in their order, without a copy of the rows
                        index = jnp.arange(d, dtype=first.dtype)
                    else:
                        some = index[:k]
                        chosen = sparse.part(sparse.rows[:, some], lambda leaf: leaf[some])
                    (v, residual, _), face = chosen.minimise(end.w[index[:k]], self.max_updates)
                    v, sign = (
                        jnp.zeros(largest, leaf.dtype).at[:k].set(leaf) for leaf in (v, face.sign)
                    )
                    chol = jnp.zeros((largest, largest), dtype).at[:k, :k].set(face.chol)
                    return (v, sign, chol, index), residual, face.noise, face.settled, face.updates

                return branch

            part, residual, noise, settled, more = _support.switch(bucket, sizes, of_size)
            v, sign, chol, index = part
            w = jnp.zeros(d, dtype).at[index].set(v)
            sign = jnp.zeros(d, jnp.int8).at[index].set(sign)
            order = jnp.arange(largest, dtype=jnp.int32)
            position = jnp.zeros(d, jnp.int32).at[index].set(order)
            free, noise = sign != 0, 4 * noise
            slope = sparse.slope(w, residual)
            over = settled & ~jnp.any(~free & (sparse.outside(slope) > noise))
            signs = Signs(sign, Support(free, Place(index, position, bucket), chol))
            return End(w, slope, signs, noise, end.updates + more, end.rounds + 1, over)

        def go(end: End):
            return ~end.over & (end.rounds < self.max_rounds) & jnp.isfinite(end.noise)

        w = jnp.where(jnp.sum(sparse.on(w)) > largest, 0, w)
        moved = lax.cond(
            jnp.any(w != 0), lambda: sparse.rows @ w, lambda: jnp.zeros_like(sparse.target)
        )
        slope = sparse.slope(w, sparse.target - sparse.weights * moved)
        zero, row = jnp.int32(0), jnp.zeros(d, jnp.int32)
        place = Place(jnp.zeros(largest, jnp.int32), row, zero)
        blank = Support(jnp.zeros(d, bool), place, jnp.zeros((largest, largest), dtype))
        signs = Signs(jnp.zeros(d, jnp.int8), blank)
        start = End(w, slope, signs, jnp.zeros((), dtype), zero, zero, jnp.bool_(False))
        return lax.while_loop(go, body, start)

    def conditions(self, problem: PenalisedLeastSquares, unknowns: Array, frozen: Signs) -> Array:
        free = frozen.support.free
        w = jnp.where(free, unknowns, 0)
        penalty = problem.penalty.flat(w)
        slope = _slope(problem, w) + jax.grad(penalty.smooth)(w, frozen.sign)
        return jnp.where(free, slope, unknowns)

    def value(self, problem: PenalisedLeastSquares, unknowns: Array, frozen: Signs) -> Array:
        return jnp.where(frozen.support.free, unknowns, 0)

    def backsolve(self, problem: PenalisedLeastSquares, frozen: Signs, rhs: Array) -> Array:
        return _support.backsolve(frozen.support, rhs)

    def slack(self, problem: PenalisedLeastSquares, unknowns: Array, frozen: Signs) -> Array:
        """Per feature of the support: its |coefficient|, relative to the largest. Per other
        feature: the distance of its slope to its strength, relative to the lengths of its column
        and of the targets.
        """
        w = self.value(problem, unknowns, frozen)
        inside, outside = problem.penalty.flat(w).slack(w, _slope(problem, w), frozen.sign)
        weights = _weights(problem)
        lengths = jnp.sqrt((weights @ problem.rows**2) * (weights @ problem.targets**2))
        largest = jnp.max(jnp.abs(w))
        scale = lax.stop_gradient(jnp.where(frozen.support.free, largest, lengths))
        return jnp.minimum(inside, outside) / jnp.where(scale > 0, scale, 1)


def _weights(problem: PenalisedLeastSquares) -> Float[Array, " n"]:
    if problem.weights is not None:
        return problem.weights
    return jnp.full_like(problem.targets, 1 / problem.targets.shape[0])


def _sparse(problem: PenalisedLeastSquares) -> Sparse:
    weights, penalty = _weights(problem), problem.penalty.flat(problem.rows[0])
    kinks = *penalty.kink(), penalty.unkinked(), penalty.bend()
    return Sparse(problem.rows, weights, weights * problem.targets, *kinks)


def _slope(problem: PenalisedLeastSquares, w: Array) -> Array:
    return (_weights(problem) * (problem.rows @ w - problem.targets)) @ problem.rows
