"""Random changes of images in training."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

SHIFT = 4
"""Largest shift of an image, in pixels."""


def augmented(
    key: PRNGKeyArray, x: Float[Array, "n h w c"], edges: Literal["reflect", "constant"] = "reflect"
) -> Float[Array, "n h w c"]:
    """Images shifted by up to 4 pixels, half of them mirrored. What comes in at the edges is the
    image mirrored there, or black ("constant").
    """
    of_shift, of_mirror = jax.random.split(key)
    wide = jnp.pad(x, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode=edges)
    corners = jax.random.randint(of_shift, (len(x), 2), 0, 2 * SHIFT + 1)

    def cut(image, corner):
        return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), x.shape[1:])

    shifted = jax.vmap(cut)(wide, corners)
    mirrored = jax.random.bernoulli(of_mirror, shape=(len(x), 1, 1, 1))
    return jnp.where(mirrored, shifted[:, :, ::-1], shifted)
