"""How well a restored mask covers the true one."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float


class Overlap(NamedTuple):
    """Shares, 0 to 1.

    - `precision`: of the restored mask that lies on the true one.
    - `recall`: of the true mask that is restored.
    - `f1`: their harmonic mean, 0 where they do not touch.
    """

    precision: Float[Array, ""]
    recall: Float[Array, ""]
    f1: Float[Array, ""]


def overlap(mask: Float[ArrayLike, "..."], true: Float[ArrayLike, "..."]) -> Overlap:
    """Precision |m t| / |m|, recall |m t| / |t| and F1 of a mask m against the true one t, with
    values in [0, 1] and |.| the sum (Guo et al. 2019).

    Raises `ValueError` for masks of different shapes, and for a true mask of zeros.
    """
    mask, true = jnp.asarray(mask), jnp.asarray(true)
    if mask.shape != true.shape:
        raise ValueError(f"true: got shape {true.shape} for a mask of shape {mask.shape}")
    if not bool(jnp.any(true > 0)):
        raise ValueError("true: is zero everywhere, expected the mask of a trigger")
    both, found = jnp.sum(mask * true), jnp.sum(mask)
    precision, recall = both / jnp.where(found > 0, found, 1), both / jnp.sum(true)
    either = precision + recall
    return Overlap(precision, recall, 2 * precision * recall / jnp.where(either > 0, either, 1))
