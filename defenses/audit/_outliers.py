"""Labels whose figure is far below that of the others."""

import jax.numpy as jnp
from jaxtyping import Array, Float

THRESHOLD = 2.0
"""Index from which a label is suspect (Wang et al. 2019): 97.7 % of normal figures are below."""


def low_outliers(figures: Float[Array, " k"]) -> Float[Array, " k"]:
    """How far each figure is below the median, in standard deviations as 1.4826 times the median
    absolute deviation estimates them; negative above it. Where more than half of the figures are
    equal, infinite for those below them.
    """
    below = jnp.median(figures) - figures
    deviation = 1.4826 * jnp.median(jnp.abs(below))
    far = jnp.where(below > 0, jnp.inf, -jnp.inf).astype(below.dtype)
    return jnp.where(
        deviation > 0,
        below / jnp.where(deviation > 0, deviation, 1),
        jnp.where(below == 0, 0, far),
    )
