"""Penalised least squares: an active-set Newton method on a growing working set of features."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Float, Int

from .._solver import AbstractSolver, Point
from ..problems.penalised_least_squares import PenalisedLeastSquares
from ..results import ACTIVE_SET, CONVERGED, NON_FINITE
from . import _support
from ._orthant import Quadratic, minimise
from ._support import Support


class Signs(eqx.Module):
    """The face of a solution: signs of the coefficients, and the factorised system over those
    that are not zero.
    """

    sign: Int[Array, " d"]
    support: Support


class WorkingSet(AbstractSolver):
    """Working sets (as in Celer, Massias et al. 2018) whose small problems are solved by Newton
    steps in an orthant (see `_orthant`), exactly.

    A round gathers the features on the support and those that violate optimality most, solves
    their problem through its Gram matrix, and looks at all features once: two passes over the
    rows. Warm starts need a round if the support stays, two if it changes. The support of the
    LASSO is taken to have no more than n + 64 features: there is a solution with n.

    - `max_rounds`: working sets.
    - `max_updates`: Newton steps for each.
    """

    max_rounds: int = 50
    max_updates: int = 500

    def cold(self, problem: PenalisedLeastSquares) -> Array:
        return jnp.zeros_like(problem.rows[0])

    def run(self, problem: PenalisedLeastSquares, warm: Array) -> Point:
        X, y = problem.rows, problem.targets
        (n, d), dtype = X.shape, X.dtype
        weights = _weights(problem)
        penalty = problem.penalty.flat(X[0])
        low, high = penalty.kink()
        bend, kinkless = penalty.bend(), penalty.unkinked()
        most = d if bend is not None else min(d, n + 64)
        sizes = _support.buckets(most)
        target = weights * y

        def on(w):
            return (w != 0) | kinkless

        def small(index, w):
            """The problem of a working set: (w, residual of the rows, its minimiser)."""
            columns = X[:, index]
            gram = (columns * weights[:, None]).T @ columns
            own = jnp.zeros_like(index, dtype) if bend is None else bend[index]
            gram = gram + jnp.diag(own)
            c = target @ columns
            quadratic = Quadratic(gram, c, low[index], high[index], kinkless[index])
            found = minimise(quadratic, w[index], self.max_updates)
            # From the rows rather than from their products: those have lost half the digits
            # where features are nearly dependent.
            v = found.w
            residual = target - weights * (columns @ v)
            slope = own * v - residual @ columns + quadratic.slope(found.sign)
            step = cho_solve((found.chol, True), jnp.where(found.sign != 0, slope, 0))
            refined = jnp.where(found.sign != 0, v - step, 0)
            same = (refined * v > 0) | (found.sign == 0) | quadratic.kinkless
            v = jnp.where(found.settled & jnp.all(same), refined, v)
            return v, target - weights * (columns @ v), found

        def body(state):
            w, slope, last, noise, updates, rounds, _ = state
            excess = jnp.where(on(w), jnp.inf, jnp.maximum(-slope - high, slope + low))
            inside = jnp.sum(on(w), dtype=jnp.int32)
            violating = jnp.sum(excess > noise, dtype=jnp.int32)
            # The support may double, at least to 64.
            want = jnp.minimum(jnp.maximum(2 * inside, 64), violating)
            bucket = _support.bucket_of(jnp.maximum(want, inside), sizes)
            _, index = lax.top_k(excess, most)

            def of_size(k: int):
                def branch():
                    chosen = index[:k]
                    v, residual, found = small(chosen, w)
                    signs = jnp.zeros(d, jnp.int8).at[chosen].set(found.sign)
                    position = (
                        jnp.zeros(d, jnp.int32).at[chosen].set(jnp.arange(k, dtype=jnp.int32))
                    )
                    chol = jnp.zeros((most, most), dtype).at[:k, :k].set(found.chol)
                    full = jnp.zeros(d, dtype).at[chosen].set(v)
                    kept = Support(signs != 0, index, position, bucket, chol)
                    return (
                        full,
                        residual,
                        Signs(signs, kept),
                        found.noise,
                        found.settled,
                        found.updates,
                    )

                return branch

            w, residual, last, small_noise, settled, more = _support.switch(bucket, sizes, of_size)
            slope = -(residual @ X) if bend is None else bend * w - residual @ X
            noise = 4 * small_noise
            outside = jnp.maximum(-slope - high, slope + low)
            over = settled & ~jnp.any(~last.support.free & (outside > noise))
            return w, slope, last, noise, updates + more, rounds + 1, over

        def go(state):
            return ~state[6] & (state[5] < self.max_rounds) & jnp.isfinite(state[3])

        w = jnp.where(((warm > 0) & jnp.isfinite(high)) | ((warm < 0) & jnp.isfinite(low)), warm, 0)
        w = jnp.where(kinkless & jnp.isfinite(warm), warm, w)
        w = jnp.where(jnp.sum(on(w)) > most, 0, w)
        moved = lax.cond(jnp.any(w != 0), lambda: X @ w, lambda: jnp.zeros_like(y))
        slope = (weights * moved - target) @ X
        slope = slope if bend is None else slope + bend * w
        blank = Support(
            jnp.zeros(d, bool), jnp.zeros(most, jnp.int32), jnp.zeros(d, jnp.int32), jnp.int32(0),
            jnp.zeros((most, most), dtype),
        )  # fmt: skip
        none = jnp.int32(0)
        start = (w, slope, Signs(jnp.zeros(d, jnp.int8), blank), jnp.zeros((), dtype), none, none,
                 jnp.bool_(False))  # fmt: skip
        w, slope, signs, _, updates, rounds, over = lax.while_loop(go, body, start)

        result = jnp.where(over, CONVERGED, ACTIVE_SET)
        # Comparisons with a NaN strength are false: only looking for it finds it.
        usual = jnp.all(jnp.isfinite(w + slope) & ~jnp.isnan(low) & ~jnp.isnan(high))
        result = jnp.where(usual, result, NON_FINITE).astype(jnp.int32)
        stats = {"steps": updates, "rounds": rounds, "support": jnp.sum(signs.support.free)}
        return Point(w, signs, w, result, stats)

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
        """Per feature: size of a coefficient on the support, over the largest; distance of the
        slope of another from its strength, over the lengths of its column and of the targets.
        """
        w = self.value(problem, unknowns, frozen)
        inside, outside = problem.penalty.flat(w).slack(w, _slope(problem, w), frozen.sign)
        weights = _weights(problem)
        lengths = jnp.sqrt((weights @ problem.rows**2) * (weights @ problem.targets**2))
        most = jnp.max(jnp.abs(w))
        scale = lax.stop_gradient(jnp.where(frozen.support.free, most, lengths))
        return jnp.minimum(inside, outside) / jnp.where(scale > 0, scale, 1)


def _weights(problem: PenalisedLeastSquares) -> Float[Array, " n"]:
    if problem.weights is not None:
        return problem.weights
    return jnp.full_like(problem.targets, 1 / problem.targets.shape[0])


def _slope(problem: PenalisedLeastSquares, w: Array) -> Array:
    return (_weights(problem) * (problem.rows @ w - problem.targets)) @ problem.rows
