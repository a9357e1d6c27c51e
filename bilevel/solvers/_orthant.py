"""Small quadratics with a kink at zero in each coordinate: Newton steps from orthant to orthant."""

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
    dtype = w.dtype
    eps = jnp.finfo(dtype).eps
    root = jnp.sqrt(jnp.diagonal(q.gram))
    widest, steepest = jnp.max(jnp.stack([root, jnp.abs(q.c)]), axis=1)

    def total(*rows):
        """Sums, by a product: each reduction of its own would cost compile time."""
        return jnp.stack(rows) @ jnp.ones(w.shape, dtype)

    def sums(w, g, slope, before):
        """(objective, what bounds the terms of a slope, change foreseen by the slope)."""
        terms = w * (0.5 * (g - q.c) + q.slope(jnp.sign(w)))
        return total(terms, root * jnp.abs(w), slope * (w - before))

    def violations(w, g, free):
        """Of each coordinate at zero; the largest; of the slope along the face; `free` wrong."""
        on = q.on(w)
        over = jnp.where(on, 0, jnp.maximum(jnp.maximum(-g - q.high, g + q.low), 0))
        along = jnp.where(on, g + q.slope(jnp.sign(w)), 0)
        square, changed = total(along * along, (on != free).astype(dtype))
        return over, jnp.max(over), jnp.sqrt(square), changed

    def body(state):
        w, g, now, size, over, worst, along, careful, _, _, count, _ = state
        noise = 64 * eps * (widest * size + steepest)
        enters = (over >= jnp.where(careful, 1, SHARE) * worst) & (over > noise)
        enters &= ~careful | (along <= noise)
        sign = jnp.where(enters, -jnp.sign(g), jnp.sign(w)).astype(jnp.int8)
        sign = jnp.where(q.kinkless, jnp.int8(1), sign)
        free, side = sign != 0, sign.astype(dtype)
        slope = jnp.where(free, g + q.slope(sign), 0)
        chol = _support.masked_cholesky(q.gram, free)
        step = -cho_solve((chol, True), slope)
        wrong = free & (w == 0) & (step * side <= 0) & ~q.kinkless
        step = jnp.where(wrong, 0, step)
        ahead = w + step
        crossed = (ahead * side <= 0) & (w != 0) & ~q.kinkless
        cut = jnp.where((ahead * side > 0) | q.kinkless, ahead, 0)
        # as far as to the first coordinate that becomes zero
        reach = jnp.where(crossed, w / jnp.where(crossed, -step, 1), jnp.inf)
        nearest = jnp.min(reach)
        (misled,) = total(wrong.astype(dtype))
        short = jnp.where(reach <= nearest, 0, w + jnp.minimum(nearest, 1) * step)

        products = q.gram @ jnp.stack([cut, short], axis=1) - q.c[:, None]
        g_cut, g_short = products[:, 0], products[:, 1]
        value_cut, size_cut, foreseen = sums(cut, g_cut, slope, w)
        value_short, size_short, _ = sums(short, g_short, slope, w)
        whole = (misled == 0) & jnp.isinf(nearest)
        falls = whole | (value_cut <= now + 1e-4 * foreseen + 8 * eps * jnp.abs(now))
        stays = ~falls & (misled > 0)

        def pick(a, b, c):
            return jnp.where(falls, a, jnp.where(stays, b, c))

        w, g = pick(cut, w, short), pick(g_cut, g, g_short)
        now, size = pick(value_cut, now, value_short), pick(size_cut, size, size_short)
        over, worst, along, changed = violations(w, g, free)
        noise = 64 * eps * (widest * size + steepest)
        settled = (jnp.maximum(worst, along) <= noise) & (changed == 0)
        careful = ~falls | (careful & ~whole)
        return w, g, now, size, over, worst, along, careful, sign, chol, count + 1, settled

    def go(state):
        return ~state[11] & (state[10] < max_updates) & jnp.isfinite(state[2])

    g = q.gram @ w - q.c
    now, size, _ = sums(w, g, g, w)
    over, worst, along, _ = violations(w, g, q.kinkless)
    no, none = jnp.bool_(False), jnp.int32(0)
    start = (w, g, now, size, over, worst, along, no, jnp.zeros(w.shape, jnp.int8),
             jnp.zeros_like(q.gram), none, no)  # fmt: skip
    w, _, _, size, *_, sign, chol, count, settled = lax.while_loop(go, body, start)
    noise = 64 * eps * (widest * size + steepest)
    w, sign, chol = independent(q.gram, q.kinkless, w, sign, chol)
    return Minimiser(w, sign, chol, noise, settled, count)
