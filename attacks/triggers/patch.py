"""Patches: pixels that are replaced by those of a picture, or mixed with them."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ..domains import AbstractDomain, Box
from ._trigger import AbstractTrigger, require_inside, require_mask, require_row_shape


class Patch(AbstractTrigger):
    """x (1 - mask) + mask pattern: with a mask of zeros and ones some pixels are replaced (Gu et
    al. 2017), with one between them two pictures are mixed (Chen et al. 2017).

    - `mask`, `pattern`: of a row's shape, images (height, width, channels) or tables (d,), or
      shapes that broadcast together to it, for example (height, width, 1) and ().
    - `domain`: of the pattern, by default [0, 1].

    Raises `ValueError` for a mask with values outside [0, 1] or of zeros only, for shapes that do
    not broadcast, and for a pattern outside its domain.
    """

    mask: Float[Array, "..."]
    pattern: Float[Array, "..."]
    domain: AbstractDomain

    def __init__(self, mask, pattern, domain: AbstractDomain | None = None):
        try:
            mask, pattern = jnp.broadcast_arrays(jnp.asarray(mask), jnp.asarray(pattern))
        except ValueError:
            raise ValueError(
                f"pattern: got shape {np.shape(pattern)}, expected that of the mask, "
                f"{np.shape(mask)}, or one that broadcasts with it"
            ) from None
        self.mask, self.pattern = jnp.asarray(mask, float), jnp.asarray(pattern, float)
        self.domain = Box(0.0, 1.0) if domain is None else domain
        require_mask(self.mask)
        require_inside(self.pattern, self.domain)

    def check(self, shape):
        require_row_shape(self.mask.shape, shape)

    def apply(self, pattern, x):
        mask = self.mask.astype(x.dtype)[None]
        return x * (1 - mask) + mask * self.placed(pattern)


Values = ArrayLike | Sequence[float]


def pixel(
    shape: tuple[int, ...],
    value: Values = 1.0,
    distance: int = 2,
    domain: AbstractDomain | None = None,
) -> Patch:
    """A pixel near the lower right corner (Gu et al. 2017).

    - `shape`: (height, width, channels) of the images.
    - `value`: () or (channels,).
    - `distance`: of the pixel from the corner, in rows and in columns: 1 is the corner itself.
    - `domain`: of the pattern.

    Raises `ValueError` for a pixel outside the image, and as `Patch` does.
    """
    return _points(shape, [(0, 0)], value, distance, domain)


def corner_pattern(
    shape: tuple[int, ...],
    value: Values = 1.0,
    distance: int = 2,
    domain: AbstractDomain | None = None,
) -> Patch:
    """Four pixels near the lower right corner, three of a diagonal and one aside (Gu et al. 2017).

    The arguments and errors are those of `pixel`.
    """
    return _points(shape, [(0, 0), (1, 1), (0, 2), (2, 0)], value, distance, domain)


def square(
    shape: tuple[int, ...],
    size: int,
    value: Values = 1.0,
    distance: int = 1,
    domain: AbstractDomain | None = None,
) -> Patch:
    """A square near the lower right corner.

    - `size`: pixels of a side.
    - `distance`: of its last pixel from the corner; 1 touches the edges.

    The other arguments and errors are those of `pixel`.
    """
    return _points(shape, list(np.ndindex(size, size)), value, distance, domain)


def blended(picture: ArrayLike, alpha: float = 0.2, domain: AbstractDomain | None = None) -> Patch:
    """A picture mixed into the whole row with the share `alpha` (Chen et al. 2017).

    - `picture`: of a row's shape; Chen et al. take a cartoon, or noise.
    - `alpha`: in (0, 1].

    Raises `ValueError` as `Patch` does.
    """
    return Patch(np.full(np.shape(picture), alpha), picture, domain)


def _points(
    shape: tuple[int, ...],
    points: list[tuple[int, int]],
    value: Values,
    distance: int,
    domain: AbstractDomain | None,
) -> Patch:
    """A patch of points, given as rows and columns from the lower right corner."""
    if len(shape) != 3:
        raise ValueError(f"shape: got {shape}, expected (height, width, channels) of the images")
    if distance < 1:
        raise ValueError(f"distance: got {distance}, expected 1, the corner, or more")
    mask = np.zeros((shape[0], shape[1], 1))
    need = distance + max((max(point) for point in points), default=0)
    if need > min(shape[:2]):
        raise ValueError(
            f"trigger: needs {need} pixels from the corner, but the images have {shape[0]} x "
            f"{shape[1]}; take a smaller trigger or distance"
        )
    for row, column in points:
        mask[-distance - row, -distance - column] = 1
    return Patch(mask, np.broadcast_to(np.asarray(value), shape), domain)
