"""Checks and shapes of bounds and of arrays per feature."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bilevel.tools import concrete


def bounds(lower, upper) -> tuple[Array, Array]:
    """Both as arrays; ValueError unless lower <= upper."""
    lower, upper = jnp.asarray(lower, float), jnp.asarray(upper, float)
    if concrete(lower) and concrete(upper):
        for name, bound in (("lower", lower), ("upper", upper)):
            if np.any(np.isnan(np.asarray(bound))):
                raise ValueError(f"{name}: got NaN, expected a bound (it may be infinite)")
        low, high = together(lower=lower, upper=upper)
        if np.any(low > high):
            where = np.argwhere(np.atleast_1d(low > high))[0]
            raise ValueError(f"lower: exceeds upper at feature {where[-1]}, the box is empty")
    return lower, upper


def together(**arrays) -> list[np.ndarray]:
    """NumPy arrays, broadcast to one shape; ValueError, with their names, if they do not match."""
    try:
        return list(np.broadcast_arrays(*(np.asarray(a) for a in arrays.values())))
    except ValueError:
        shapes = ", ".join(str(np.shape(a)) for a in arrays.values())
        raise ValueError(
            f"{' and '.join(arrays)}: got shapes {shapes}, expected (), (d,) or (m, d) each, of "
            "the same d features and m rows"
        ) from None


def require_shape(name: str, a: Array, shape: tuple[int, ...]) -> None:
    """ValueError unless `a` is one number, or one per feature, or one per feature and row."""
    allowed = list(dict.fromkeys([(), shape[-1:], shape]))
    if a.shape not in allowed:
        *first, last = map(str, allowed)
        raise ValueError(
            f"{name}: got shape {a.shape}, expected {', '.join(first)} or {last}: one for all, or "
            "one per feature"
        )


def spread(a: Array, like: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`a` in the shape and dtype of `like`."""
    return jnp.broadcast_to(a.astype(like.dtype), like.shape)


def widths(lower: Array, upper: Array, like: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The width of each interval; one if it is infinite."""
    width = spread(upper, like) - spread(lower, like)
    return jnp.where(jnp.isfinite(width), width, 1)
