"""Many problems at once: one function that chooses how."""

from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import PyTree


def batch(function: Callable[..., PyTree], size: int | None = None) -> Callable[..., PyTree]:
    """`function` over the leading axis of every array of its arguments.

    On accelerators a `vmap`. On a CPU a loop: there, batched small factorisations gain nothing,
    a batched `while_loop` runs every lane to the slowest, and a batched `cond` runs all branches.
    `size` bounds how many run at once (memory): chunks of it are vmapped.
    """

    def mapped(*args: PyTree) -> PyTree:
        arrays, rest = eqx.partition(args, eqx.is_array)
        lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(arrays)}
        if len(lengths) != 1 or lengths == {()}:
            raise ValueError(
                f"batch: got arrays with leading axes {sorted(lengths)}, expected one common length"
            )

        def one(arrays):
            return function(*eqx.combine(arrays, rest))

        if size is None and jax.default_backend() != "cpu":
            return jax.vmap(one)(arrays)
        return jax.lax.map(one, arrays, batch_size=size)

    return mapped
