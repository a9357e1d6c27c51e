"""Small quadratics with a kink at zero in each coordinate, by Newton steps between orthants."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .. import _cholesky
from .._reduce import largest, sums
from . import _support

SHARE = 0.5
"""Coordinates whose violation is at least this share of the largest enter together."""


class Quadratic(eqx.Module):
    """min_w 1/2 w'Gw - c'w + sum_j high_j max(w_j, 0) + low_j min(w_j, 0).

    `kinked` is False for the coordinates with low = high = 0.
    """

    gram: Float[Array, "k k"]
    c: Float[Array, " k"]
    low: Float[Array, " k"]
    high: Float[Array, " k"]
    kinked: Bool[Array, " k"]

    def side(self, w: Array) -> Array:
        """The orthant of w: its signs, and 1 for coordinates without a kink."""
        return jnp.where(self.kinked, jnp.sign(w), 1)

    def slope(self, side: Array) -> Float[Array, " k"]:
        """Slope of the kinked part in an orthant."""
        return jnp.where(side > 0, self.high, jnp.where(side < 0, self.low, 0))


class Minimiser(eqx.Module):
    """A minimiser (if `settled`), its face (`sign`) and the factor on that face. `noise` is the
    rounding error of a slope.
    """

    w: Float[Array, " k"]
    sign: Int[Array, " k"]
    chol: Float[Array, "k k"]
    noise: Float[Array, ""]
    settled: Bool[Array, ""]
    updates: Int[Array, ""]


def minimise(q: Quadratic, w: Float[Array, " k"], max_updates: int) -> Minimiser:
    """Minimise exactly, from w: the last step is Newton's on the face of the minimiser.

    The free coordinates are those that are not zero, and those that gain most by leaving zero.
    Their Newton step, cut at the boundary of the orthant, is taken if the objective falls
    (two-metric projection, Bertsekas 1982). Otherwise the next steps are careful: only one
    coordinate enters at a time, from the minimiser of a face, and a step ends where the first
    coordinate becomes zero (feature-sign search, Lee et al. 2006). Each face then occurs at most
    once.

    The columns of the free coordinates are made independent. If one depends on those before it (a
    category and its complement, duplicates), the objective is constant along some direction. w
    moves along it until a coordinate with a kink is zero; this coordinate leaves the face. Such a
    basic solution always exists (Rosset et al. 2004).

    To compile few kernels, reductions are done together and scalars are entries of vectors.
    """
    eps, k = jnp.finfo(w.dtype).eps, w.size
    raised, squares = _support.raised(q.gram), _cholesky.diagonal(q.gram)
    root, order = jnp.sqrt(squares), jnp.arange(k, dtype=jnp.int32)
    widest, steepest = largest(root, jnp.abs(q.c))

    def noise_at(size):
        return 64 * eps * (widest * size + steepest)

    def outside(w, g):
        """Violation of each coordinate at zero."""
        over = jnp.maximum(jnp.maximum(-g - q.high, g + q.low), 0)
        return jnp.where(q.side(w) != 0, 0, over)

    def violations(w, g, free):
        """The largest violations outside and along the face; whether `free` differs from w's."""
        side = q.side(w)
        along = jnp.where(side != 0, jnp.abs(g + q.slope(side)), 0)
        other = ((side != 0) != free).astype(w.dtype)
        return largest(outside(w, g), along, other)

    def terms(w, g):
        """Terms of the objective, and bounds on the terms of a slope."""
        return w * (0.5 * (g - q.c) + q.slope(jnp.sign(w))), root * jnp.abs(w)

    def body(state):
        w, g, _, (now, size), worst, along, (count, careful, drops, column) = state
        careful, dropping, noise = careful > 0, column < k, noise_at(size)
        over = outside(w, g)
        bar = jnp.where(careful, worst, SHARE * worst)
        bar = jnp.where((careful & (along > noise)) | dropping, jnp.inf, bar)
        side = jnp.where((over >= bar) & (over > noise), -jnp.sign(g), q.side(w))
        free = side != 0
        slope = jnp.where(free, g + q.slope(side), 0)
        chol = _support.masked_cholesky(raised, free)
        # Inverse iteration finds the direction in which the objective is constant.
        rhs = jnp.where(dropping, jnp.where(order == column, side, 0), slope)
        step = -_cholesky.solve(chol, rhs)
        ahead = w + step
        # The distance until a coordinate becomes zero; -1 if a new one moves to the wrong side.
        (widest_step,) = largest(jnp.abs(step))
        moves = jnp.abs(step) > jnp.where(dropping, eps**0.5 * widest_step, 0)  # not rounding
        beyond = moves & (jnp.where(dropping, step, ahead) * side <= 0)
        reach = jnp.where(w == 0, -1, w / jnp.where(step == 0, 1, -step))
        reach = jnp.where(q.kinked & free & beyond, reach, jnp.inf)
        nearest = jnp.min(reach)
        part = jnp.where(dropping, nearest, jnp.minimum(nearest, 1))
        cut = jnp.where((ahead * side > 0) | ~q.kinked, ahead, 0)
        both = _rows(cut, jnp.where(reach <= nearest, 0, w + part * step))
        slopes = both @ q.gram - q.c[None, :]
        change = slope * (both[0] - w)
        predicted, *actual = sums(change, *terms(both[0], slopes[0]), *terms(both[1], slopes[1]))
        whole = jnp.isinf(nearest) & ~dropping
        falls = actual[0] <= now + 1e-4 * predicted + 8 * eps * jnp.abs(now)
        falls = whole | (falls & ~dropping)
        stays = ~falls & ((nearest < 0) | jnp.isinf(nearest))

        def pick(a, b, c):
            return jnp.where(falls, a, jnp.where(stays, b, c))

        w, g = pick(both[0], w, both[1]), pick(slopes[0], g, slopes[1])
        now, size = pick(actual[0], now, actual[2]), pick(actual[1], size, actual[3])
        worst, along, other = violations(w, g, free)
        violation, noise = jnp.maximum(worst, along), noise_at(size)
        settled = (violation <= noise) & (other == 0) & ~dropping
        careful = dropping | ~falls | (careful & ~whole)
        # The objective was not constant along this move: make no more such moves.
        failed = dropping & (stays | ~(violation <= k * noise))
        drops = jnp.where(failed, k, drops + dropping.astype(jnp.int32))
        # columns that depend on those before them
        spot = jnp.where(free & settled & (drops < k), order, -1)[:, None] == order[None, :]
        dependent = spot & (chol**2 <= (eps**0.5 * squares)[:, None])
        column = jnp.min(jnp.where(dependent, order[:, None], k))
        column = jnp.where(settled & (column == k), -1, column)
        flags = jnp.stack([count + 1, careful.astype(jnp.int32), drops, column])
        return w, g, chol, jnp.stack([now, size]), worst, along, flags

    def go(state):
        _, _, _, scalars, _, _, flags = state
        return (flags[3] >= 0) & (flags[0] < max_updates) & jnp.isfinite(scalars[0])

    g = w @ q.gram - q.c
    scalars = jnp.stack(sums(*terms(w, g)))
    flags = jnp.array([0, 0, 0, k], jnp.int32)
    start = w, g, raised, scalars, *violations(w, g, q.side(w) != 0)[:2], flags
    w, _, chol, scalars, _, _, flags = lax.while_loop(go, body, start)
    sign = q.side(w).astype(jnp.int8)
    return Minimiser(w, sign, chol, noise_at(scalars[1]), flags[3] < 0, flags[0])


def _rows(*vectors: Float[Array, " k"]) -> Float[Array, "r k"]:
    """The vectors as rows, by selection, which XLA fuses with the next operation."""
    row = jnp.arange(len(vectors), dtype=jnp.int32)[:, None]
    rows = vectors[-1][None, :]
    for i, vector in enumerate(vectors[:-1]):
        rows = jnp.where(row == i, vector[None, :], rows)
    return rows
