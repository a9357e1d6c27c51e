"""Arithmetic on pytrees of arrays."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree


def concrete(a) -> bool:
    """Whether the values can be looked at (not under a transformation)."""
    return not isinstance(a, Tracer)


def dot(a: PyTree, b: PyTree) -> Float[Array, ""]:
    """Inner product over all leaves."""
    products = jax.tree.leaves(jax.tree.map(lambda x, y: jnp.sum(x * y), a, b))
    return jnp.sum(jnp.stack(products))


def tree_add(a: PyTree, b: PyTree) -> PyTree:
    return jax.tree.map(jnp.add, a, b)


def tree_sub(a: PyTree, b: PyTree) -> PyTree:
    return jax.tree.map(jnp.subtract, a, b)


def norm(tree: PyTree) -> Float[Array, ""]:
    """Euclidean norm over all leaves."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)))


def stop_gradient(tree: PyTree) -> PyTree:
    """`lax.stop_gradient` on the arrays of a tree that may hold functions and settings too."""
    return jax.tree.map(lambda x: lax.stop_gradient(x) if eqx.is_array(x) else x, tree)


def all_finite(tree: PyTree) -> Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))
