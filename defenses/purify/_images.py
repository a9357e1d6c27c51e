"""Windows of pixels."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from bilevel import Data


def require_images(data: Data, width: int) -> None:
    """ValueError unless the rows are images of at least this height and width."""
    shape = data.x.shape[1:]
    if len(shape) != 3 or min(shape[:2]) < width:
        raise ValueError(
            f"x: got rows of shape {shape}, expected images (height, width, channels) of at least "
            f"{width} x {width} pixels"
        )


def patches(x: Float[Array, "n h w c"], width: int) -> Float[Array, "m n h w c"]:
    """The image shifted by every pixel of a window; edges are repeated."""
    before, after = (width - 1) // 2, width // 2
    around = ((0, 0), (before, after), (before, after), (0, 0))
    padded = jnp.pad(x, around, mode="edge")
    height, size = x.shape[1:3]
    return jnp.stack(
        [padded[:, i : i + height, j : j + size] for i in range(width) for j in range(width)]
    )
