"""A patch whose mask is part of the decision variable."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from bilevel.tools import concrete

from ..domains import AbstractDomain, Box
from ..domains.l1_ball import soften
from ._trigger import AbstractTrigger, require_inside, require_mask, require_row_shape


class Painted(eqx.Module):
    """A mask (height, width, 1) and a picture (height, width, channels)."""

    mask: Float[Array, "h w 1"]
    picture: Float[Array, "h w c"]


class SoftPatch(AbstractTrigger):
    """x (1 - mask) + mask picture for a pattern of both: the mask is optimised, too, in [0, 1] and
    with a sum of at most `area`.

    - `pattern`: the start: a mask whose sum is at most `area`, and a picture.
    - `area`: the largest sum of the mask, in pixels, > 0.
    - `domain`: of the picture, by default [0, 1].

    Where the mask is zero the picture has no derivative, and where the picture equals the rows the
    mask has none: start with a mask above zero everywhere, and a picture that is not blank.
    Raises `ValueError` for an area, a mask or a picture out of range.
    """

    pattern: Painted
    area: Float[Array, ""]
    domain: AbstractDomain

    def __init__(self, mask, picture, area: float, domain: AbstractDomain | None = None):
        mask, picture = jnp.asarray(mask, float), jnp.asarray(picture, float)
        if picture.ndim != 3 or mask.shape != (*picture.shape[:2], 1):
            raise ValueError(
                f"mask: got shape {mask.shape} for a picture of shape {picture.shape}, expected "
                "(height, width, 1) for (height, width, channels)"
            )
        self.pattern = Painted(mask, picture)
        self.domain = Box(0.0, 1.0) if domain is None else domain
        self.area = jnp.asarray(area, float)
        require_mask(mask)
        require_inside(picture, self.domain)
        begun = float(jnp.sum(mask)) if concrete(mask) else 0.0
        if concrete(area) and not (0 < area < float("inf") and begun <= area * (1 + 1e-6)):
            raise ValueError(
                f"area: got {area:g}, expected a number of pixels > 0, and at least the sum of the "
                f"mask at the start, {begun:g}"
            )

    def check(self, shape):
        require_row_shape(self.pattern.picture.shape, shape)

    def apply(self, pattern, x):
        mask = pattern.mask[None]
        return x * (1 - mask) + mask * self.placed(pattern.picture)

    def project(self, pattern):
        mask, area = pattern.mask.reshape(-1), self.area.astype(pattern.mask.dtype)
        boxed = jnp.clip(mask, 0, 1)
        near = jnp.where(jnp.sum(boxed) <= area, boxed, soften(mask, jnp.ones_like(mask), area))
        return Painted(near.reshape(pattern.mask.shape), super().project(pattern.picture))

    def direction(self, gradient):
        """The gradient of the mask, its largest entry 1: signs alone would not say which pixels
        are worth their share of the area. For the picture the signs.
        """
        most = jnp.max(jnp.abs(gradient.mask))
        mask = gradient.mask / jnp.where(most > 0, most, 1)
        return Painted(mask, super().direction(gradient).picture)

    def units(self, pattern):
        return Painted(jnp.ones_like(pattern.mask), super().units(pattern.picture))
