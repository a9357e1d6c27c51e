"""Changes below half a grey level, which no stored image shows (Koh & Liang, ICML 2017)."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from bilevel.tools import concrete

from .box import Box
from .linf_ball import LinfBall

REACH = 0.499
"""In grey levels; at a half, rounding decides."""


def half_grey(x: Float[ArrayLike, "m ..."]) -> LinfBall:
    """Images that are x when they are stored with 8 bits: each pixel moves by less than half a
    level.

    - `x` (m, ...): images in [0, 1] as read from 8 bits, levels over 255; otherwise `ValueError`.
    """
    x = jnp.asarray(x)
    if concrete(x):
        levels = 255 * np.asarray(x, float)
        apart = np.max(np.abs(levels - np.round(levels)), initial=0)
        if not apart < 1e-3 or np.min(levels) < 0 or np.max(levels) > 255:
            raise ValueError(
                f"x: got values in [{np.min(x):.3g}, {np.max(x):.3g}], up to {apart:.2g} of a grey "
                "level off; expected levels 0 to 255 over 255, as stored with 8 bits"
            )
    return LinfBall(x, REACH / 255, Box(0.0, 1.0))
