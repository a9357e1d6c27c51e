"""Systems over the free coordinates only: gathered, padded to a static size, factorised."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .. import _cholesky


class Place(eqx.Module):
    """Which coordinates the rows of a factor belong to."""

    index: Int[Array, " m"]
    position: Int[Array, " d"]  # where a free coordinate is found in `index`
    bucket: Int[Array, ""]


class Support(eqx.Module):
    """Cholesky factor of a symmetric matrix over the free ones of d coordinates.

    Row i of the factor belongs to coordinate `index[i]`, if i < size of the bucket and that is
    free; other rows are those of the identity. `place` is None where row i belongs to coordinate i.
    """

    free: Bool[Array, " d"]
    place: Place | None
    chol: Float[Array, "m m"]


def buckets(most: int) -> tuple[int, ...]:
    """Static sizes that a system may be padded to: 64, 256, 1024, ..., and `most` itself."""
    sizes, k = [], 64
    while 5 * k <= 4 * most:  # a size close below `most` would not pay for its compilation
        sizes.append(k)
        k *= 4
    return (*sizes, most)


def bucket_of(count: Int[Array, ""], sizes: tuple[int, ...]) -> Int[Array, ""]:
    return sum(((count > size).astype(jnp.int32) for size in sizes[:-1]), jnp.int32(0))


def gather(free: Bool[Array, " d"]) -> tuple[Int[Array, " d"], Int[Array, " d"], Int[Array, ""]]:
    """(index, position, count): the free coordinates to the front, the others behind them."""
    index = jnp.argsort(~free, stable=True).astype(jnp.int32)
    position = jnp.cumsum(free.astype(jnp.int32)) - 1
    return index, jnp.maximum(position, 0), position[-1] + 1


def raised(block: Float[Array, "k k"]) -> Float[Array, "k k"]:
    """The diagonal raised by a few units of rounding, relative to itself, so that the factor of a
    singular matrix exists; who solves with it must refine. Zeros there become ones.
    """
    k = block.shape[0]
    more = block * (1 + 16 * k * jnp.finfo(block.dtype).eps)
    more = jnp.where(more > 0, more, 1)
    return jnp.where(jnp.eye(k, dtype=bool), more, block)


def masked_cholesky(block: Float[Array, "k k"], inside: Bool[Array, " k"]) -> Float[Array, "k k"]:
    """Factor (see `_cholesky`) of the rows and columns that are inside, of the identity elsewhere.
    The diagonal is that of `raised`.
    """
    order = jnp.arange(block.shape[0], dtype=jnp.int32)
    # The ones that depend on `inside`, or XLA takes them out of loops and compiles them apart.
    ones = (jnp.where(inside, -1, order)[:, None] == order[None, :]).astype(block.dtype)
    block = jnp.where(inside[:, None] & inside[None, :], block, ones)
    return _cholesky.cholesky(block)


def switch(bucket: Array, sizes: tuple[int, ...], of_size: Callable[[int], Callable]):
    """Run `of_size(k)()` for the size k of the bucket."""
    return lax.switch(bucket, [of_size(k) for k in sizes])


def backsolve(support: Support, rhs: Float[Array, " d"]) -> Float[Array, " d"]:
    """Apply the inverse; the identity on coordinates that are not free."""
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
