"""Base rows with a faint copy of a target in them (Poison Frogs, Shafahi et al., NeurIPS 2018)."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from bilevel.tools import concrete


def watermarked(
    base: Float[ArrayLike, "m ..."], target: Float[ArrayLike, "..."], opacity: float
) -> Float[Array, "m ..."]:
    """(1 - opacity) base + opacity target, in each row.

    - `base` (m, ...): rows of the class that the poison keeps.
    - `target` (...): one row.
    - `opacity`: in [0, 1]; the paper has .2 to .3.

    The start of an attack, and the centre of a ball for its poison. Raises `ValueError` for another
    opacity and for shapes that do not match.
    """
    base, target = jnp.asarray(base), jnp.asarray(target)
    if concrete(opacity) and not 0 <= float(opacity) <= 1:
        raise ValueError(
            f"opacity: got {opacity}, expected a share in [0, 1]: 0 is the base, 1 the target"
        )
    if target.shape != base.shape[1:]:
        raise ValueError(
            f"target: got shape {target.shape}, expected {base.shape[1:]}, one row like the base's"
        )
    share = jnp.asarray(opacity, base.dtype)
    return (1 - share) * base + share * target.astype(base.dtype)[None]
