"""Drawn roads through a windscreen, and how a driver steers there.

A flat road of constant curvature within sight, seen by a pinhole camera: a pixel below the horizon
is a point of the ground, and its distance from the middle of the road tells its colour.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ...report import UsageError
from ._shapes import box, cover, regular
from ._warp import PART, Batch, Pictures, blurred, clouds

HEIGHT, WIDTH, HORIZON, FOCAL = 24, 48, 7.0, 26.0
"""Of a picture: its size, the row of the horizon and the focal length, in pixels."""
EYE, HALF_ROAD, BESIDE, TOP, BOARD = 1.2, 3.0, 4.0, 1.8, 0.9
"""Metres: height of the camera, half width of the road, from its middle to a sign, height and half
width of a sign's board."""
AHEAD, SHARPEST = 8.0, 0.12
"""Metres ahead where a driver aims; curvature of a car that steers as far as it can, 1 / metre."""
OFFSET, HEADING, BEND, NEAR, FAR = 2.5, 0.45, 0.04, 4, 17
"""Largest values of a drawn view; how near and how far a drawn sign stands."""


class View(NamedTuple):
    """What n cars see, each (n,); lengths in metres.

    - `offset`: of the car from the middle of the road, to the right.
    - `heading`: radians from the direction of the road, to the right.
    - `bend`: curvature of the road ahead, to the right.
    - `sign`: how far ahead a sign stands, on the right; infinite where there is none.
    """

    offset: np.ndarray
    heading: np.ndarray
    bend: np.ndarray
    sign: np.ndarray

    def middle(self, ahead) -> np.ndarray:
        """How far to the right of the car the middle of the road is, so far ahead."""
        return 0.5 * self.bend * ahead**2 - self.heading * ahead - self.offset


def views(count: int, rng: np.random.Generator) -> View:
    """Random views, each with a sign at one of the distances at which it is in the picture: uniform
    but for those in which none would be, in about one of twenty.
    """
    n = 2 * count + 50
    offset, heading, bend = (rng.uniform(-most, most, n) for most in (OFFSET, HEADING, BEND))
    ahead = np.arange(NEAR, FAR)[:, None]
    view = View(offset, heading, bend, np.full(n, np.inf))
    column = FOCAL * (view.middle(ahead) + BESIDE) / ahead
    order = np.where(np.abs(column) < WIDTH / 2 - 2, rng.random(column.shape), -1)
    view = view._replace(sign=ahead[np.argmax(order, axis=0), 0])
    return View(*(a[order.max(0) >= 0][:count].astype(float) for a in view))


def steering(view: View) -> Float[np.ndarray, " n"]:
    """In [-1, 1], +1 to the right: along the circle through the middle of the road at `AHEAD`."""
    return np.clip(2 * view.middle(AHEAD) / AHEAD**2 / SHARPEST, -1, 1)


def roads(count: int, seed: int, sign: bool = False) -> Pictures:
    """So many pictures (24, 48, 3) of roads, and how to steer there (n,), float32 in [-1, 1].

    - `sign`: whether a sign stands beside each road, 4 to 16 metres ahead and in sight; the roads,
      the trees and the steering are the same with it and without.

    About .4 ms a picture.
    """
    if count < 1:
        raise UsageError(f"count: got {count}, expected 1 or more pictures")
    rng = np.random.default_rng(seed)
    view = views(count, rng)
    view = view if sign else view._replace(sign=np.full(count, np.inf))
    return Pictures(photograph(view, rng), steering(view).astype(np.float32))


def photograph(view: View, rng: np.random.Generator) -> Batch:
    """Pictures (n, 24, 48, 3) of the views, in random light, with random trees beside the road."""
    parts = [View(*(a[i : i + PART] for a in view)) for i in range(0, len(view.sign), PART)]
    return np.concatenate([_photograph(part, rng) for part in parts])


def _photograph(view: View, rng: np.random.Generator) -> Batch:
    n = len(view.sign)
    view = View(*(a.astype(np.float32)[:, None, None] for a in view))
    picture = _land(view, rng, n)
    for side in (-1, 1):
        far, beside = _random(rng, n, 8, 40), side * _random(rng, n, 5.5, 12)
        tall = _random(rng, n, 1.5, 3.0)
        x, y, pixel = _upright(view, far, beside, 0.6 * tall)
        colour = _random(rng, n, 0.6, 1.4)[..., None] * _colour(0.14, 0.28, 0.10)
        picture = _painted(picture, colour, cover(np.hypot(x, y) - 0.6 * tall, pixel))
    x, y, pixel = _upright(view, view.sign, BESIDE, TOP)
    post = cover(box(x, y - TOP / 2, 0.08, TOP / 2), pixel) * np.minimum(1, 0.16 / pixel)
    picture = _painted(picture, _colour(0.35, 0.35, 0.35), post)
    for colour, radius in (((0.95, 0.95, 0.95), BOARD), ((0.85, 0.1, 0.5), 0.75 * BOARD)):
        board = cover(regular(x, y, 4, radius), pixel) * np.minimum(1, 2 * radius / pixel) ** 2
        picture = _painted(picture, _colour(*colour), board)
    light = _random(rng, n, 0.6, 1.15)[..., None]
    noise = 0.05 * rng.standard_normal(picture.shape, np.float32)
    blurry = blurred(picture * light, rng.uniform(0.2, 0.6, n).astype(np.float32), reach=1)
    return np.clip(blurry + noise, 0, 1)


def _colour(*tones: float) -> np.ndarray:
    return np.array(tones, np.float32)


def _random(rng: np.random.Generator, n: int, low: float, high: float) -> np.ndarray:
    return rng.uniform(low, high, (n, 1, 1)).astype(np.float32)


def _painted(picture: Batch, colour: np.ndarray, share: Float[np.ndarray, "n h w"]) -> Batch:
    return picture + share[..., None] * (colour - picture)


def _land(view: View, rng: np.random.Generator, n: int) -> Batch:
    """Sky, hills, meadows, and the road with its lines."""
    column = (np.arange(WIDTH, dtype=np.float32) + 0.5 - WIDTH / 2) / FOCAL
    row = (np.arange(HEIGHT, dtype=np.float32)[:, None] + 0.5 - HORIZON) / FOCAL
    hills = -0.08 + 0.05 * clouds(rng, n, 6, 1, WIDTH)
    sky, hill, grass = rng.uniform(0.75, 1.1, (3, n, 1, 1, 1)).astype(np.float32)
    picture = np.where((row > hills)[..., None], hill * _colour(0.3, 0.4, 0.42),
                       sky * _colour(0.6, 0.75, 0.9))  # fmt: skip
    ahead = EYE / np.maximum(row, 0.25 / FOCAL)
    across, pixel = column * ahead - view.middle(ahead), ahead / FOCAL
    ground = np.broadcast_to(row > 0, (n, HEIGHT, WIDTH))
    grain = 1 + 0.12 * clouds(rng, n, 16, HEIGHT, WIDTH)[..., None]
    picture = _painted(picture, grass * _colour(0.35, 0.5, 0.2) * grain, ground)
    asphalt = cover(np.abs(across) - HALF_ROAD, pixel) * ground
    grey = rng.uniform(0.28, 0.5, (n, 1, 1, 1)).astype(np.float32)
    picture = _painted(picture, grey * np.ones(3, np.float32), asphalt)
    dash = (ahead + _random(rng, n, 0, 6)) % 6 < 3
    middle = cover(np.abs(across) - 0.1, pixel) * dash
    edges = cover(np.abs(np.abs(across) - HALF_ROAD + 0.3) - 0.1, pixel)
    return _painted(picture, _colour(0.9, 0.9, 0.85), np.maximum(middle, edges) * ground)


def _upright(view: View, ahead, beside, height):
    """For what stands so far ahead, so far to the right of the middle of the road and so high: the
    coordinates (n, 24, 48) of the pixels around it, in metres, and how large a pixel is there. What
    is no more ahead, or infinitely far, is nowhere.
    """
    seen = (ahead > 0.5) & (ahead < 100)
    ahead = np.where(seen, ahead, 1)
    column = np.arange(WIDTH, dtype=np.float32) + 0.5 - WIDTH / 2
    row = np.arange(HEIGHT, dtype=np.float32)[:, None] + 0.5 - HORIZON
    pixel = ahead / FOCAL
    x = column * pixel - view.middle(ahead) - beside
    y = row * pixel - (EYE - height)
    return np.where(seen, x, 1e6), y + 0 * x, pixel
