"""Warped images: a smooth displacement of the pixels."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, PRNGKeyArray

from ..domains import AbstractDomain, Box
from ._trigger import AbstractTrigger, require_inside


class Warp(AbstractTrigger):
    """The value at each pixel is taken from a place beside it, by bilinear interpolation (WaNet,
    Nguyen & Tran, ICLR 2021). Places outside the image have the value of the nearest pixel.

    - `pattern` (k, k, 2): displacements in pixels, down and to the right, at a grid of k x k points
      that covers the image; between them they are interpolated by cubic polynomials.
    - `domain`: of the displacements, by default unbounded.

    The derivative in the pattern jumps where a place crosses a pixel's centre. Raises `ValueError`
    for another shape and for a pattern outside its domain.
    """

    pattern: Float[Array, "k k 2"]
    domain: AbstractDomain

    def __init__(self, pattern, domain: AbstractDomain | None = None):
        self.pattern = jnp.asarray(pattern, float)
        self.domain = Box(-jnp.inf, jnp.inf) if domain is None else domain
        shape = self.pattern.shape
        if len(shape) != 3 or shape[0] != shape[1] or shape[2] != 2 or shape[0] < 2:
            raise ValueError(f"pattern: got shape {shape}, expected (k, k, 2) with k >= 2")
        require_inside(self.pattern, self.domain)

    def check(self, shape):
        grid = self.pattern.shape[0]
        if len(shape) != 3 or min(shape[:2]) < grid:
            raise ValueError(
                f"trigger: got a grid of {grid} x {grid} displacements for rows of shape {shape}, "
                "expected images (height, width, channels) of at least as many pixels"
            )

    def apply(self, pattern, x):
        height, width = x.shape[1:3]
        moves = jax.image.resize(self.placed(pattern)[0], (height, width, 2), "cubic")
        down, right = jnp.arange(height, dtype=x.dtype), jnp.arange(width, dtype=x.dtype)
        places = [down[:, None] + moves[..., 0], right[None, :] + moves[..., 1]]
        sample = partial(map_coordinates, coordinates=places, order=1, mode="nearest")
        over_channels = jax.vmap(sample, in_axes=-1, out_axes=-1)
        return jax.vmap(over_channels)(x)


def warp(key: PRNGKeyArray, pixels: float, grid: int = 4) -> Warp:
    """Random displacements of `pixels` on average at grid x grid points, uniform as WaNet's. The
    domain is bounded by the largest of them.

    - `key`: typed key. `pixels`: mean absolute displacement, > 0, otherwise `ValueError`; WaNet's
      strength of .5 is a quarter of a pixel.
    """
    if not pixels > 0:
        raise ValueError(f"pixels: got {pixels}, expected a displacement > 0")
    moves = jax.random.uniform(key, (grid, grid, 2), float, -1.0, 1.0)
    moves = pixels * moves / jnp.mean(jnp.abs(moves))
    most = jnp.max(jnp.abs(moves))
    return Warp(moves, Box(-most, most))
