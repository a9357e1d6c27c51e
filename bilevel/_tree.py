"""Arithmetic on pytrees of arrays."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree


def concrete(a) -> bool:
    """Whether `a` has values that Python can read: False under a transformation."""
    return not isinstance(a, Tracer)


def is_key(leaf) -> bool:
    """Whether an array holds typed keys."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def fetched(leaf) -> np.ndarray:
    """An array in the memory of the host; of typed keys their data."""
    return np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)


def like(leaf, array: np.ndarray) -> Array:
    """The inverse of `fetched`: an array on the default device; typed keys if `leaf` is one."""
    if is_key(leaf):
        return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf))
    return jnp.asarray(array)


def dot(a: PyTree, b: PyTree) -> Float[Array, ""]:
    """Inner product over all leaves."""
    products = jax.tree.leaves(jax.tree.map(lambda x, y: jnp.sum(x * y), a, b))
    return jnp.sum(jnp.stack(products))


def tree_add(a: PyTree, b: PyTree) -> PyTree:
    return jax.tree.map(jnp.add, a, b)


def tree_sub(a: PyTree, b: PyTree) -> PyTree:
    return jax.tree.map(jnp.subtract, a, b)


@partial(jax.jit, inline=True)
def norm(tree: PyTree) -> Float[Array, ""]:
    """Euclidean norm over all leaves."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)))


def stop_gradient(tree: PyTree) -> PyTree:
    """`lax.stop_gradient` of the arrays of a tree; functions and settings in it stay."""
    return jax.tree.map(lambda x: lax.stop_gradient(x) if eqx.is_array(x) else x, tree)


def require_count(name: str, value, least: int = 1) -> int:
    """`value` as an int; ValueError unless it is a whole number >= `least`.

    `name` begins the message.
    """
    number = isinstance(value, int | float | np.integer) and not isinstance(value, bool)
    if not number or value % 1 != 0 or value < least:  # infinity modulo 1 is NaN
        raise ValueError(f"{name}: got {value!r}, expected a whole number, at least {least}")
    return int(value)


def require_floating(name: str, tree: PyTree) -> PyTree:
    """The tree with numbers and integer arrays as floating arrays; ValueError for other leaves, or
    for a tree without leaves. `name` begins the message.
    """
    if not jax.tree.leaves(tree):
        raise ValueError(f"{name}: got no arrays, expected a pytree of floating arrays")

    def floating(path, leaf):
        part = name + jax.tree_util.keystr(path)
        if not eqx.is_array_like(leaf):
            raise ValueError(
                f"{part}: got a {type(leaf).__name__}, expected a floating array or a number"
            )
        leaf = jnp.asarray(leaf)
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        if not jnp.issubdtype(leaf.dtype, jnp.integer):
            raise ValueError(f"{part}: got {leaf.dtype}, expected floating numbers")
        return leaf.astype(float)

    return jax.tree.map_with_path(floating, tree)


def all_finite(tree: PyTree) -> Array:
    """Whether every entry of every leaf is finite, a boolean array of shape ()."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))
