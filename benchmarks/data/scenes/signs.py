"""Drawn traffic signs, as a camera sees them: worn, dirty, tilted, half hidden, out of focus.

How hard they are to tell apart is set by `Conditions`. A sign can carry a sticker: the same scene,
the same camera, and the sticker on the plate, so that it moves and tilts with the sign.
"""

import dataclasses
import functools

import numpy as np

from ...report import UsageError
from . import _plates_swedish, _plates_us
from ._stickers import STICKERS, sticker
from ._warp import PART, Batch, Pictures, blurred, clouds, grid, homographies, over, placed

COUNTRIES = {"us": _plates_us, "swedish": _plates_swedish}
_TINTS = np.array([(-0.08, 0.0, 0.12), (0.0, 0.06, -0.1), (0.0, 0.0, 0.0)])  # sky, ground, board
_MUD_AND_SNOW = np.array([(0.3, 0.24, 0.18), (0.85, 0.87, 0.9)], np.float32)


@dataclasses.dataclass(frozen=True)
class Conditions:
    """How signs are seen. Ranges are drawn from uniformly, one number a picture.

    - `scale`: half width of a sign as a share of the picture's. `shift`: how far from the middle.
    - `turn`: largest rotation in radians. `tilt`: largest slope of the perspective.
    - `fade`: how far the colours of a sign go to one grey. A sticker is new: it does not fade.
    - `dirt`: share of a sign under mud or snow. A sticker is on top of it.
    - `hidden`: share of the picture behind leaves, which are in front of everything.
    - `light`: brightness. `blur`: standard deviation in pixels. `noise`: standard deviation.
    """

    scale: tuple[float, float] = (0.65, 0.95)
    shift: float = 0.1
    turn: float = 0.15
    tilt: float = 0.2
    fade: tuple[float, float] = (0.2, 1.0)
    dirt: tuple[float, float] = (0.1, 0.8)
    hidden: tuple[float, float] = (0.0, 0.1)
    light: tuple[float, float] = (0.55, 1.1)
    blur: tuple[float, float] = (0.2, 0.8)
    noise: float = 0.03

    def __post_init__(self):
        for name in ("scale", "fade", "dirt", "hidden", "light", "blur"):
            low, high = getattr(self, name)
            most = 1 if name in ("fade", "dirt", "hidden") else 4
            if not 0 <= low <= high <= most:
                raise UsageError(
                    f"{name}: got ({low}, {high}), expected 0 <= low <= high <= {most}"
                )
        for name, most in (("shift", 1), ("turn", np.pi), ("tilt", 0.8), ("noise", 1)):
            if not 0 <= getattr(self, name) <= most:
                raise UsageError(f"{name}: got {getattr(self, name)}, expected 0 to {most:.3g}")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where on the plate a sticker is: its middle (x, y) and its half width, in half widths of the
    sign; y points down.
    """

    x: float = 0.0
    y: float = 0.58
    size: float = 0.3


def classes(country: str) -> tuple[str, ...]:
    """What a country's class numbers mean."""
    return _of(country).CLASSES


def signs(
    count: int, seed: int, country: str = "us", on: str | None = None,
    conditions: Conditions = Conditions(), place: Place = Place(),
) -> Pictures:  # fmt: skip
    """So many signs (32, 32, 3), as many of each class as of any other up to one, in random order.

    - `country`: "us" (stop, speed limit, warning) or "swedish" (information, mandatory,
      prohibitory, warning, other).
    - `on`: the sticker on every sign: "yellow square", "bomb" or "flower", at `place`.

    The same count, seed, country and conditions give the same scenes, with a sticker or without.
    About .4 ms a picture.
    """
    if count < 1:
        raise UsageError(f"count: got {count}, expected 1 or more pictures")
    if on is not None and on not in STICKERS:
        raise UsageError(f"on: got {on!r}, expected None or one of {', '.join(STICKERS)}")
    kinds = len(classes(country))
    y = np.random.default_rng(seed).permutation(np.arange(count) % kinds)
    parts = range(0, count, PART)
    drawn = [
        _drawn(np.random.default_rng([seed, a]), country, y[a : a + PART], on, conditions, place)
        for a in parts
    ]
    return Pictures(np.concatenate(drawn), y.astype(np.int32))


def _of(country: str):
    if country not in COUNTRIES:
        raise UsageError(f"country: got {country!r}, expected one of {', '.join(COUNTRIES)}")
    return COUNTRIES[country]


@functools.cache
def _plates(country: str) -> tuple[np.ndarray, np.ndarray]:
    """All plates, class after class, and how many each class has."""
    groups = _of(country).plates()
    pictures = np.stack([plate.picture() for group in groups for plate in group])
    return pictures, np.array([len(group) for group in groups])


def _drawn(rng, country: str, y, on, conditions: Conditions, place: Place) -> Batch:
    n, (x, down), (plates, variants) = len(y), grid(32, 32), _plates(country)
    first = np.cumsum(variants) - variants
    which = first[y] + (rng.random(n) * variants[y]).astype(int)
    maps = homographies(
        rng, n, conditions.scale, conditions.turn, conditions.tilt, conditions.shift
    )
    sign = placed(plates, which, maps, x, down)
    picture = over(_background(rng, n), _worn(rng, sign, conditions))
    if on is not None:
        plate, put = _sticker(on)[None], maps.copy()
        for axis, middle in ((0, place.x), (1, place.y)):
            put[:, axis] = (maps[:, axis] - middle * maps[:, 2]) / place.size
        picture = over(picture, placed(plate, np.zeros(n, int), put, x, down))
    return _taken(rng, _behind_leaves(rng, picture, conditions), conditions)


@functools.cache
def _sticker(name: str) -> np.ndarray:
    return sticker(name).picture()


def _uniform(rng, between: tuple[float, float], n: int) -> np.ndarray:
    return rng.uniform(*between, n).astype(np.float32)


def _background(rng, n: int) -> Batch:
    """Sky or walls above, ground or hedges below, posts and boards of any colour."""
    grey = rng.uniform(0.2, 0.85, (3, n, 1, 1, 1))
    tint = rng.uniform(-0.2, 0.2, (3, n, 1, 1, 3)) + _TINTS[:, None, None, None]
    sky, ground, board = (grey + tint).astype(np.float32)
    x, y = grid(32, 32)
    horizon = rng.uniform(-0.6, 1.0, (n, 1, 1)) + 0.15 * clouds(rng, n, 5, 1, 32)
    picture = np.where((y < horizon)[..., None], sky, ground)
    left, top = rng.uniform(-1.2, 0.8, (2, n, 1, 1))
    wide, high = rng.uniform(0.1, 0.9, (2, n, 1, 1))
    inside = (x > left) & (x < left + wide) & (y > top) & (y < top + high)
    picture = np.where(inside[..., None], board, picture)
    grain = clouds(rng, n, 9, 32, 32) + clouds(rng, n, 18, 32, 32)
    post = (np.abs(x) < 0.06) & (y > 0)
    picture = np.where(post[..., None], np.float32(0.45), picture)
    return picture + 0.07 * grain[..., None]


def _worn(rng, sign: np.ndarray, conditions: Conditions) -> np.ndarray:
    """Signs whose colours went towards a grey, under spots of mud or snow."""
    n = len(sign)
    fade = _uniform(rng, conditions.fade, n)[:, None, None, None]
    grey = rng.uniform(0.35, 0.75, (n, 1, 1, 1)).astype(np.float32)
    alpha, colours = sign[..., 3:], sign[..., :3]
    colours = colours + fade * (grey * alpha - colours)
    mud = _spots(rng, _uniform(rng, conditions.dirt, n), 7)[..., None]
    tone = rng.choice(_MUD_AND_SNOW, n)[:, None, None]
    return np.concatenate([colours + mud * (tone * alpha - colours), alpha], -1)


def _spots(rng, share: np.ndarray, cells: int) -> np.ndarray:
    """Opacities (n, 32, 32) of spots that cover about such shares."""
    noise = clouds(rng, len(share), cells, 32, 32)
    order = np.sort(noise.reshape(len(share), -1)[:, ::8], axis=1)
    level = order[np.arange(len(share)), ((1 - share) * (order.shape[1] - 1)).astype(int)]
    return np.clip((noise - level[:, None, None]) * 4, 0, 1)


def _behind_leaves(rng, picture: Batch, conditions: Conditions) -> Batch:
    n = len(picture)
    leaves = _spots(rng, _uniform(rng, conditions.hidden, n), 6)[..., None]
    green = rng.uniform((0.08, 0.2, 0.05), (0.3, 0.45, 0.2), (n, 3)).astype(np.float32)
    grain = 1 + 0.3 * clouds(rng, n, 16, 32, 32)[..., None]
    return picture + leaves * (green[:, None, None] * grain - picture)


def _taken(rng, picture: Batch, conditions: Conditions) -> Batch:
    """The photograph: brightness, a cast, a shadow to one side, blur, noise."""
    n, (x, y) = len(picture), grid(32, 32)
    cast = rng.uniform(0.85, 1.15, (n, 1, 1, 3)).astype(np.float32)
    side = rng.uniform(-0.25, 0.25, (2, n, 1, 1)).astype(np.float32)
    shade = (1 + side[0] * x + side[1] * y)[..., None]
    light = _uniform(rng, conditions.light, n)[:, None, None, None]
    picture = blurred(picture * light * shade * cast, _uniform(rng, conditions.blur, n))
    noise = conditions.noise * rng.standard_normal(picture.shape, np.float32)
    return np.clip(picture + noise, 0, 1)
