"""Pseudo-random numbers of rows by their content: what is drawn by them depends on no order."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, UInt


def row_hash(x: Float[Array, "n d"], y: Float[Array, " n"], seed: int = 0) -> UInt[Array, " n"]:
    """A pseudo-random number per row that depends on its content alone, so that what is drawn by
    it depends on no order of the rows. Equal rows have equal numbers.
    """
    rows = lax.stop_gradient(jnp.concatenate([x, y[:, None]], axis=1)).astype(jnp.float32)
    bits = lax.bitcast_convert_type(rows + jnp.float32(0), jnp.uint32)  # + 0: one sign of zero
    columns = jnp.arange(bits.shape[1], dtype=jnp.uint32)[None, :]
    mixed = mix(bits ^ mix(columns + jnp.uint32((0x9E3779B9 * (seed + 1)) & 0xFFFFFFFF)))
    return mix(jnp.sum(mixed, axis=1, dtype=jnp.uint32))


def mix(h: UInt[Array, "..."]) -> UInt[Array, "..."]:
    """The finaliser of MurmurHash3: every bit of the input moves every bit of the output."""
    h = (h ^ (h >> 16)) * jnp.uint32(0x85EBCA6B)
    h = (h ^ (h >> 13)) * jnp.uint32(0xC2B2AE35)
    return h ^ (h >> 16)
