"""Systems over the free coordinates only: gathered, padded to a static size, factorised."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Bool, Float, Int


class Support(eqx.Module):
    """Cholesky factor of a symmetric matrix over the free ones of d coordinates.

    Row i of the factor belongs to coordinate `index[i]`, if i < size of the bucket and that is
    free; other rows are those of the identity.
    """

    free: Bool[Array, " d"]
    index: Int[Array, " m"]
    position: Int[Array, " d"]  # where a free coordinate is found in `index`
    bucket: Int[Array, ""]
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


def masked_cholesky(block: Float[Array, "k k"], inside: Bool[Array, " k"]) -> Float[Array, "k k"]:
    """Factor of the rows and columns that are inside, of the identity elsewhere.

    The diagonal is raised by a few units of rounding, relative to itself, so that the factor of a
    singular matrix exists; who solves with it must refine.
    """
    k = block.shape[0]
    diagonal = jnp.diagonal(block)
    raised = diagonal * (1 + 16 * k * jnp.finfo(block.dtype).eps)
    raised = jnp.where(inside & (raised > 0), raised, 1)
    block = jnp.where(inside[:, None] & inside[None, :], block, 0)
    block = jnp.where(jnp.eye(k, dtype=bool), raised[:, None], block)
    return lax.linalg.cholesky(block, symmetrize_input=False)


def switch(bucket: Array, sizes: tuple[int, ...], of_size: Callable[[int], Callable]):
    """Run `of_size(k)()` for the size k of the bucket."""
    return lax.switch(bucket, [of_size(k) for k in sizes])


def backsolve(support: Support, rhs: Float[Array, " d"]) -> Float[Array, " d"]:
    """Apply the inverse; the identity on coordinates that are not free."""
    free = support.free

    def of_size(k: int):
        def branch():
            index = support.index[:k]
            y = jnp.where(free[index], rhs[index], 0)
            y = cho_solve((support.chol[:k, :k], True), y)
            return y[jnp.minimum(support.position, k - 1)]

        return branch

    y = switch(support.bucket, buckets(support.chol.shape[0]), of_size)
    return jnp.where(free, y, rhs)
