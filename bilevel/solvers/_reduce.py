"""Reductions of several vectors in one kernel, rather than a compiled kernel for each."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def sums(*vectors: Float[Array, " k"]) -> tuple[Float[Array, ""], ...]:
    """The sum of each vector."""
    return _reduce(jnp.add, vectors)


def largest(*vectors: Float[Array, " k"]) -> tuple[Float[Array, ""], ...]:
    """The largest entry of each vector, for vectors without negative entries."""
    return _reduce(jnp.maximum, vectors)


def _reduce(operation: Callable, vectors: tuple[Array, ...]) -> tuple[Array, ...]:
    def each(a, b):
        return tuple(operation(x, y) for x, y in zip(a, b, strict=True))

    zeros = tuple(jnp.zeros((), vector.dtype) for vector in vectors)
    return tuple(lax.reduce(vectors, zeros, each, (0,)))
