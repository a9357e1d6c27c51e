"""Small quadratics with a kink at zero in each coordinate: Newton steps from orthant to orthant."""

from functools import partial

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Bool, Float, Int

from . import _support
from ._independent import independent

SHARE = 0.5
"""Coordinates enter together whose violation is at least this share of the largest."""


class Quadratic(eqx.Module):
    """min_w 1/2 w'Gw - c'w + sum_j high_j max(w_j, 0) + low_j min(w_j, 0).

    `kinkless` are the coordinates with low = high = 0.
    """

    gram: Float[Array, "k k"]
    c: Float[Array, " k"]
    low: Float[Array, " k"]
    high: Float[Array, " k"]
    kinkless: Bool[Array, " k"]

    def slope(self, sign: Int[Array, " k"]) -> Float[Array, " k"]:
        """Of the kinked part, in the orthant of the signs."""
        return jnp.where(sign > 0, self.high, jnp.where(sign < 0, self.low, 0))

    def on(self, w: Array) -> Bool[Array, " k"]:
        return (w != 0) | self.kinkless


class Minimiser(eqx.Module):
    """A minimiser, the face it lies on (`sign`) and the factor there, if `settled`. `noise`:
    how much of a slope is rounding.
    """

    w: Float[Array, " k"]
    sign: Int[Array, " k"]
    chol: Float[Array, "k k"]
    noise: Float[Array, ""]
    settled: Bool[Array, ""]
    updates: Int[Array, ""]


def minimise(q: Quadratic, w: Float[Array, " k"], max_updates: int) -> Minimiser:
    """Minimise from w, exactly: the last step is Newton's on the face of the minimiser.

    Free are the coordinates that are not zero, and those that gain most by leaving zero. The
    Newton step of the free ones, cut where it leaves the orthant, is taken if the objective falls
    by it (two-metric projection, Bertsekas 1982). Else the next steps are careful: nothing enters
    but one coordinate at a time, from the minimiser of a face, and a step ends where the first
    coordinate becomes zero (feature-sign search, Lee et al. 2006): each face is met at most once.
    """
    dtype, eps = w.dtype, jnp.finfo(w.dtype).eps
    raised = _support.raised(q.gram)
    root = jnp.sqrt(_support.diagonal(q.gram))
    bounds = jnp.max(jnp.stack([root, jnp.abs(q.c)]), axis=1)

    def noise_at(size):
        return 64 * eps * (bounds[0] * size + bounds[1])

    def sums(w, g, slope, before):
        """Of each column: objective, what bounds the terms of a slope, foreseen change."""
        of_column = partial(jnp.expand_dims, axis=1)
        kink = jnp.where(w > 0, of_column(q.high), jnp.where(w < 0, of_column(q.low), 0))
        terms = w * (0.5 * (g - of_column(q.c)) + kink)
        scales, changes = of_column(root) * jnp.abs(w), of_column(slope) * (w - of_column(before))
        return jnp.sum(jnp.stack([terms, scales, changes]), axis=1)

    def outside(w, g):
        """Violation of each coordinate at zero."""
        return jnp.where(q.on(w), 0, jnp.maximum(jnp.maximum(-g - q.high, g + q.low), 0))

    def violations(w, g, free):
        """The largest outside and along the face, and whether `free` is wrong."""
        on = q.on(w)
        along = jnp.where(on, jnp.abs(g + q.slope(jnp.sign(w))), 0)
        wrong = (on != free).astype(dtype)
        return jnp.max(jnp.stack([outside(w, g), along, wrong]), axis=1)

    def body(state):
        w, g, (now, size), (worst, along, _), careful, _, _, count, _ = state
        noise, over = noise_at(size), outside(w, g)
        enters = (over >= jnp.where(careful, 1, SHARE) * worst) & (over > noise)
        enters &= ~careful | (along <= noise)
        sign = jnp.where(enters, -jnp.sign(g), jnp.sign(w)).astype(jnp.int8)
        sign = jnp.where(q.kinkless, jnp.int8(1), sign)
        free, side = sign != 0, sign.astype(dtype)
        slope = jnp.where(free, g + q.slope(sign), 0)
        chol = _support.masked_cholesky(raised, free)
        step = -cho_solve((chol, True), slope)
        wrong = free & (w == 0) & (step * side <= 0) & ~q.kinkless
        step = jnp.where(wrong, 0, step)
        ahead = w + step
        crossed = (ahead * side <= 0) & (w != 0) & ~q.kinkless
        cut = jnp.where((ahead * side > 0) | q.kinkless, ahead, 0)
        # as far as to the first coordinate that becomes zero
        reach = jnp.where(crossed, w / jnp.where(crossed, -step, 1), jnp.inf)
        nearest, led = jnp.min(jnp.stack([reach, jnp.where(wrong, 0, jnp.inf)]), axis=1)
        short = jnp.where(reach <= nearest, 0, w + jnp.minimum(nearest, 1) * step)

        both = jnp.stack([cut, short], axis=1)
        slopes = q.gram @ both - q.c[:, None]
        (value_cut, value_short), sizes, (foreseen, _) = sums(both, slopes, slope, w)
        whole = jnp.isinf(led) & jnp.isinf(nearest)
        falls = whole | (value_cut <= now + 1e-4 * foreseen + 8 * eps * jnp.abs(now))
        stays = ~falls & jnp.isfinite(led)

        def pick(two, old):
            return jnp.where(falls, two[..., 0], jnp.where(stays, old, two[..., 1]))

        w, g = pick(both, w), pick(slopes, g)
        scalars = pick(jnp.stack([jnp.stack([value_cut, value_short]), sizes]), state[2])
        worst = violations(w, g, free)
        settled = (jnp.max(worst[:2]) <= noise_at(scalars[1])) & (worst[2] == 0)
        careful = ~falls | (careful & ~whole)
        return w, g, scalars, worst, careful, sign, chol, count + 1, settled

    def go(state):
        return ~state[8] & (state[7] < max_updates) & jnp.isfinite(state[2][0])

    g = q.gram @ w - q.c
    scalars = sums(w[:, None], g[:, None], g, w)[:2, 0]
    no, none = jnp.bool_(False), jnp.int32(0)
    start = (w, g, scalars, violations(w, g, q.kinkless), no, jnp.zeros(w.shape, jnp.int8),
             jnp.zeros_like(q.gram), none, no)  # fmt: skip
    w, _, scalars, _, _, sign, chol, count, settled = lax.while_loop(go, body, start)
    w, sign, chol = independent(q.gram, raised, q.kinkless, w, sign, chol)
    return Minimiser(w, sign, chol, noise_at(scalars[1]), settled, count)
