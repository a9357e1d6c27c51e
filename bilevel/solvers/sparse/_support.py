"""Systems of the free coordinates: gathered, padded to a static size, factorised."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .. import _cholesky


class Place(eqx.Module):
    """The coordinates of the rows of a factor."""

    index: Int[Array, " m"]
    position: Int[Array, " d"]  # of a free coordinate in `index`
    bucket: Int[Array, ""]


class Support(eqx.Module):
    """Cholesky factor of a symmetric matrix over the free of d coordinates.

    Row i of the factor is that of coordinate `index[i]`, if i < size of the bucket and the
    coordinate is free. Other rows are those of the identity. If `place` is None, row i is that of
    coordinate i.
    """

    free: Bool[Array, " d"]
    place: Place | None
    chol: Float[Array, "m m"]


def buckets(largest: int) -> tuple[int, ...]:
    """The static sizes of padded systems: 64, 256, 1024, ..., and `largest`."""
    sizes, k = [], 64
    while 5 * k <= 4 * largest:  # a size just below `largest` is not worth its compilation
        sizes.append(k)
        k *= 4
    return (*sizes, largest)


def bucket_of(count: Int[Array, ""], sizes: tuple[int, ...]) -> Int[Array, ""]:
    """The number of the smallest of `sizes` that is at least `count`."""
    return sum(((count > size).astype(jnp.int32) for size in sizes[:-1]), jnp.int32(0))


def gather(free: Bool[Array, " d"]) -> tuple[Int[Array, " d"], Int[Array, " d"], Int[Array, ""]]:
    """(index, position, count): an order with the free coordinates first."""
    index = jnp.argsort(~free, stable=True).astype(jnp.int32)
    position = jnp.cumsum(free.astype(jnp.int32)) - 1
    return index, jnp.maximum(position, 0), position[-1] + 1


def raised(block: Float[Array, "k k"]) -> Float[Array, "k k"]:
    """`block` with its diagonal raised by a few units of rounding, relative to itself, so that the
    factor of a singular matrix exists. Solutions with it need refinement. Zeros of the diagonal
    become ones.
    """
    k = block.shape[0]
    more = block * (1 + 16 * k * jnp.finfo(block.dtype).eps)
    more = jnp.where(more > 0, more, 1)
    return jnp.where(jnp.eye(k, dtype=bool), more, block)


def masked_cholesky(block: Float[Array, "k k"], inside: Bool[Array, " k"]) -> Float[Array, "k k"]:
    """Factor (see `_cholesky`) of the rows and columns `inside`, with the identity elsewhere.
    `block` must come from `raised`.
    """
    order = jnp.arange(block.shape[0], dtype=jnp.int32)
    # They depend on `inside`: XLA would move constants out of loops and compile them separately.
    ones = (jnp.where(inside, -1, order)[:, None] == order[None, :]).astype(block.dtype)
    block = jnp.where(inside[:, None] & inside[None, :], block, ones)
    return _cholesky.cholesky(block)


def switch(bucket: Array, sizes: tuple[int, ...], of_size: Callable[[int], Callable]):
    """The result of `of_size(k)()` for the size k of the bucket."""
    return lax.switch(bucket, [of_size(k) for k in sizes])


def backsolve(support: Support, rhs: Float[Array, " d"]) -> Float[Array, " d"]:
    """Apply the inverse to `rhs`; the identity on coordinates that are not free."""
    free, place = support.free, support.place
    if place is None:
        y = _cholesky.solve(support.chol, jnp.where(free, rhs, 0))
        return jnp.where(free, y, rhs)

    def of_size(k: int):
        def branch():
            index = place.index[:k]
            y = jnp.where(free[index], rhs[index], 0)
            y = _cholesky.solve(support.chol[:k, :k], y)
            return y[jnp.minimum(place.position, k - 1)]

        return branch

    y = switch(place.bucket, buckets(support.chol.shape[0]), of_size)
    return jnp.where(free, y, rhs)
