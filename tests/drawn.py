"""Weights of networks that are not trained."""

import math

import jax
import numpy as np
from jaxtyping import DTypeLike

from bilevel.networks import AbstractArchitecture


def drawn(architecture: AbstractArchitecture, shape, dtype: DTypeLike = float, seed: int = 0):
    """Weights for rows of a shape as `init` draws them, but by NumPy: without programs for each
    layer.
    """
    row = jax.ShapeDtypeStruct(shape, dtype)
    rng = np.random.default_rng(seed)

    def leaf(of):
        spread = 1 / math.sqrt(math.prod(of.shape[:-1])) if of.ndim > 1 else 0.0
        return jax.device_put((spread * rng.normal(size=of.shape)).astype(of.dtype))

    return jax.tree.map(leaf, jax.eval_shape(architecture.init, jax.random.key(0), row))
