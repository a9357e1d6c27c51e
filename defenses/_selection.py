"""Which rows to keep, hard or soft. Written against the array API: NumPy and JAX alike."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, UInt

from bilevel.losses import Hinge


def lowest(score: Any, among: Any, count: Any) -> Any:
    """The `count` rows of lowest score (n,) among those of a mask (n,), as a mask. NaN is last."""
    xp = score.__array_namespace__()
    score = xp.where(among & ~xp.isnan(score), score, xp.inf)
    place = xp.argsort(xp.argsort(score, stable=True), stable=True)
    return (xp.astype(place, xp.int32) < count) & among


def kept_count(among: Any, contamination: float) -> Any:
    """How many rows of a mask are left when this share of them is dropped."""
    xp = among.__array_namespace__()
    rows = xp.sum(xp.astype(among, xp.float32))  # exact up to 16 million rows
    return xp.astype(xp.round((1 - contamination) * rows), xp.int32)


def row_losses(loss, y: Float[Array, " n"], f: Float[Array, " n"]) -> Float[Array, " n"]:
    """Losses to rank rows by. Hinge losses of zero would tie: 1 - y f orders those too."""
    return 1 - y * f if isinstance(loss, Hinge) else loss(y, f)


def soft_lowest(
    score: Float[Array, " n"],
    weight: Float[Array, " n"],
    count: Float[Array, ""],
    temperature: Float[Array, ""],
) -> Float[Array, " n"]:
    """Shares in (0, 1), sigmoid((threshold - score) / temperature), that sum to `count` with the
    weights (n,): what minimises weight'(share * score - temperature * entropy(share)).

    The threshold is found by bisection, and differentiated implicitly.
    """

    def total(threshold, score, temperature):
        return jnp.sum(weight * jax.nn.sigmoid((threshold - score) / temperature)) - count

    # The threshold solves one equation: bisection, and Newton's step from there has its derivative.
    hard, warm = lax.stop_gradient(score), lax.stop_gradient(temperature)
    used = weight > 0
    low = jnp.min(jnp.where(used, hard, jnp.inf)) - 40 * warm
    high = jnp.max(jnp.where(used, hard, -jnp.inf)) + 40 * warm

    def halve(_, ends):
        low, high = ends
        middle = 0.5 * (low + high)
        below = total(middle, hard, warm) < 0
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low, high = lax.fori_loop(0, 80, halve, (low, high))
    middle = 0.5 * (low + high)
    slope = jax.grad(total)(middle, hard, warm)
    slope = jnp.where(slope > 0, slope, 1)
    threshold = middle - total(middle, score, temperature) / slope
    return jax.nn.sigmoid((threshold - score) / temperature)


def row_hash(x: Float[Array, "n d"], y: Float[Array, " n"], seed: int = 0) -> UInt[Array, " n"]:
    """A pseudo-random number per row that depends on its content alone, so that what is drawn by
    it depends on no order of the rows. Equal rows have equal numbers.
    """
    rows = lax.stop_gradient(jnp.concatenate([x, y[:, None]], axis=1)).astype(jnp.float32)
    bits = lax.bitcast_convert_type(rows + jnp.float32(0), jnp.uint32)  # + 0: one sign of zero
    columns = jnp.arange(bits.shape[1], dtype=jnp.uint32)[None, :]
    mixed = _mix(bits ^ _mix(columns + jnp.uint32((0x9E3779B9 * (seed + 1)) & 0xFFFFFFFF)))
    return _mix(jnp.sum(mixed, axis=1, dtype=jnp.uint32))


def _mix(h: UInt[Array, "..."]) -> UInt[Array, "..."]:
    """The finaliser of MurmurHash3: every bit of the input moves every bit of the output."""
    h = (h ^ (h >> 16)) * jnp.uint32(0x85EBCA6B)
    h = (h ^ (h >> 13)) * jnp.uint32(0xC2B2AE35)
    return h ^ (h >> 16)


def mask_of(keep: Bool[Array, " n"], like: Float[Array, " n"]) -> Float[Array, " n"]:
    return lax.stop_gradient(keep.astype(like.dtype))


def order(hashes: UInt[Array, " n"]) -> Int[Array, " n"]:
    """Place of each row in the order of its hash."""
    return jnp.argsort(jnp.argsort(hashes))
