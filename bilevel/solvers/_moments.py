"""Weighted sums of products of rows, by blocks of rows."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

BLOCK = 2048
"""Rows whose products are added up at a time."""


def moments(
    x: Float[Array, "n d"], last: Float[Array, " n"], weight: Float[Array, " n"]
) -> Float[Array, "p p"]:
    """sum_i weight_i u_i u_i' with u_i = (x_i, last_i).

    A block stays in a core's cache: a weighted copy of many rows costs as much time as their
    products, and as much memory as x.
    """
    blocks, left = divmod(x.shape[0], BLOCK)
    if blocks < 2:
        return _of_rows(x, last, weight)

    def add(block, total):
        some = (lax.dynamic_slice_in_dim(a, block * BLOCK, BLOCK) for a in (x, last, weight))
        return total + _of_rows(*some)

    total = jnp.zeros((x.shape[1] + 1,) * 2, x.dtype)
    if left:
        total = _of_rows(x[-left:], last[-left:], weight[-left:])
    return lax.fori_loop(0, blocks, add, total)


def _of_rows(x: Array, last: Array, weight: Array) -> Array:
    # One more column compiles to less than a matrix of blocks.
    u = jnp.concatenate([x, last[:, None]], axis=1)
    weighted, p = u * weight[:, None], u.shape[1]
    if p < 128:
        return weighted.T @ u
    # A quarter of the matrix is mirrored, not computed.
    first = weighted[:, : p // 2].T @ u[:, : p // 2]
    rest = weighted[:, p // 2 :].T @ u
    above = jnp.concatenate([first, rest[:, : p // 2].T], axis=1)
    return jnp.concatenate([above, rest])
