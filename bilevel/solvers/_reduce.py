"""Reductions of several vectors in one kernel: each of its own would be compiled apart."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def sums(*vectors: Float[Array, " k"]) -> tuple[Float[Array, ""], ...]:
    return _reduce(jnp.add, vectors)


def largest(*vectors: Float[Array, " k"]) -> tuple[Float[Array, ""], ...]:
    """Of vectors without negative entries."""
    return _reduce(jnp.maximum, vectors)


def _reduce(operation: Callable, vectors: tuple[Array, ...]) -> tuple[Array, ...]:
    def each(a, b):
        return tuple(operation(x, y) for x, y in zip(a, b, strict=True))

    zeros = tuple(jnp.zeros((), vector.dtype) for vector in vectors)
    return tuple(lax.reduce(vectors, zeros, each, (0,)))
