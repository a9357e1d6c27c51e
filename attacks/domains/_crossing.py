"""Roots of monotone, piecewise simple functions of one number."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from bilevel.tools import program

Numbers = Float[Array, "*batch"]


@program
def crossing(
    at: Callable[[Numbers], tuple[Bool[Array, "*batch"], Numbers]],
    start: Numbers,
    low: Numbers,
    high: Numbers,
) -> Numbers:
    """The root in [low, high], to rounding, of each of a batch of monotone functions.

    `at(t)` returns whether the root is above t, and the root of the function's piece at t, extended
    to all numbers. Newton's method from `start` uses these roots. The functions are not convex, so
    that it could cycle or be slow: it bisects at every third step, and if a root of a piece is
    outside the bracket.
    """
    eps = 4 * float(jnp.finfo(start.dtype).eps)

    def body(state):
        low, high, t, _, step = state
        beyond, guess = at(t)
        low, high = jnp.where(beyond, t, low), jnp.where(beyond, high, t)
        there = jnp.abs(guess - t) <= eps * jnp.abs(t)
        good = there | ((low < guess) & (guess < high) & (step % 3 < 2))
        new = jnp.where(good, guess, 0.5 * (low + high))
        return low, high, new, jnp.any(jnp.abs(new - t) > eps * jnp.abs(t)), step + 1

    state = low, high, start, jnp.bool_(True), 0
    return lax.while_loop(lambda s: s[3] & (s[4] < 300), body, state)[2]
