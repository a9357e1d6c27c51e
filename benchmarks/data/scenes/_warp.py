"""What happens to pictures on the way into a camera: perspective, light, blur. All in batches."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

Batch = Float[np.ndarray, "n h w c"]
PART = 256
"""Pictures that are drawn at once: their arrays fit in a processor's cache."""


class Pictures(NamedTuple):
    """Pictures (n, height, width, channels) in [0, 1], float32, and what they show (n,): class
    numbers, or steering angles.
    """

    x: np.ndarray
    y: np.ndarray


def grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (height, width) of pixels: x to the right, y down, the longer side [-1, 1]."""
    half = max(height, width) / 2
    x = (np.arange(width) + 0.5 - width / 2) / half
    y = (np.arange(height) + 0.5 - height / 2) / half
    across, down = np.meshgrid(x, y)
    return across.astype(np.float32), down.astype(np.float32)


def homographies(
    rng: np.random.Generator, n: int, scale: tuple[float, float], turn: float, tilt: float,
    shift: float,
) -> Float[np.ndarray, "n 3 3"]:  # fmt: skip
    """From pictures to plates. Each plate is `scale` times as wide as the picture, turned by up to
    `turn` radians, tilted by up to `tilt`, and up to `shift` from the middle.
    """
    size, angle = rng.uniform(*scale, n), rng.uniform(-turn, turn, n)
    sin, cos = np.sin(angle), np.cos(angle)
    narrow = 1 - 0.5 * np.abs(rng.uniform(-tilt, tilt, n))
    x, y = rng.uniform(-shift, shift, (2, n))
    forth = np.zeros((n, 3, 3))
    forth[:, 0] = np.stack([size * narrow * cos, -size * sin, x], 1)
    forth[:, 1] = np.stack([size * narrow * sin, size * cos, y], 1)
    forth[:, 2] = np.stack([*rng.uniform(-tilt, tilt, (2, n)) * 0.6, np.ones(n)], 1)
    return np.linalg.inv(forth).astype(np.float32)


def placed(
    plates: Float[np.ndarray, "k q q 4"], which: Int[np.ndarray, " n"],
    maps: Float[np.ndarray, "n 3 3"], x: np.ndarray, y: np.ndarray,
) -> Float[np.ndarray, "n h w 4"]:  # fmt: skip
    """Each of the chosen plates as it is seen at the coordinates: bilinear interpolation."""
    points = np.stack([x.ravel(), y.ravel(), np.ones(x.size, x.dtype)])
    u, v, w = np.moveaxis(maps @ points, 1, 0)
    edged = np.pad(plates, ((0, 0), (1, 2), (1, 2), (0, 0))).reshape(-1, 4)
    pixels = plates.shape[1] + 3
    half = plates.shape[1] / 2
    u = np.clip((u / w + 1) * half + 0.5, 0, pixels - 2)
    v = np.clip((v / w + 1) * half + 0.5, 0, pixels - 2)
    left, top = np.floor(u), np.floor(v)
    right, down = (u - left)[..., None], (v - top)[..., None]
    corner = (which[:, None] * pixels + top.astype(int)) * pixels + left.astype(int)
    above = edged[corner] * (1 - right) + edged[corner + 1] * right
    below = edged[corner + pixels] * (1 - right) + edged[corner + pixels + 1] * right
    return (above * (1 - down) + below * down).reshape(len(maps), *x.shape, 4)


def over(picture: Batch, layer: Float[np.ndarray, "n h w 4"]) -> Batch:
    """The picture with a layer in front, whose colours are times its opacity."""
    return picture * (1 - layer[..., 3:]) + layer[..., :3]


def clouds(
    rng: np.random.Generator, n: int, cells: int, height: int, width: int
) -> Float[np.ndarray, "n h w"]:
    """Smooth noise of variance near 1/2: normal numbers at cells x cells points, interpolated."""
    values = rng.standard_normal((n, cells, cells), np.float32)
    return _between(height, cells) @ values @ _between(width, cells).T


def _between(pixels: int, cells: int) -> Float[np.ndarray, "p c"]:
    place = np.linspace(0, cells - 1, pixels)[:, None]
    return np.clip(1 - np.abs(place - np.arange(cells)), 0, 1).astype(np.float32)


def blurred(picture: Batch, radius: Float[np.ndarray, " n"], reach: int = 3) -> Batch:
    """Each picture blurred by a Gaussian of its own standard deviation, in pixels."""
    steps = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (steps / np.maximum(radius, 1e-3)[:, None]) ** 2).astype(np.float32)
    weights /= weights.sum(1, keepdims=True)
    for axis in (1, 2):
        pixels = picture.shape[axis]
        edges = [(reach, reach) if i == axis else (0, 0) for i in range(picture.ndim)]
        wide, sum_ = np.pad(picture, edges, mode="edge"), np.zeros_like(picture)
        for i, weight in enumerate(weights.T):
            rows = (slice(None),) * axis + (slice(i, i + pixels),)
            sum_ += weight[:, None, None, None] * wide[rows]
        picture = sum_
    return picture
