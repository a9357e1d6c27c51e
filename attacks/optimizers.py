"""Optimisers that attacks are usually run with, as optax transformations."""

import jax
import jax.numpy as jnp
import optax


def unit_rows(step: float) -> optax.GradientTransformation:
    """Move each row of each leaf by `step` along its own gradient's direction.

    Poison points have gradients of very different size; one length for all moves all of them.
    A row whose gradient is zero stays.
    """

    def update(updates, state, params=None):
        def row(g):
            length = jnp.sqrt(jnp.sum(g * g, axis=-1, keepdims=True))
            return -step * g / jnp.where(length > 0, length, 1)

        return jax.tree.map(row, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
