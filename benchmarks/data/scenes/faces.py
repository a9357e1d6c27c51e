"""Drawn faces of a few people, grey, as photographs for recognition: pose, light, expression.

A person is a row of measures (of the head, hair, eyes, brows, nose, mouth, beard), the same in
all pictures; a picture adds how the head is turned, how it smiles and where the light comes from.
Eyeglasses can be put on any face.
"""

from typing import NamedTuple

import numpy as np

from ...report import UsageError
from ._shapes import box, cover, ellipse
from ._warp import PART, Batch, Pictures, blurred, clouds, grid

PIXELS = 32
RANGES = {
    "width": (0.52, 0.68), "height": (0.72, 0.86), "jaw": (2.0, 3.2), "skin": (0.42, 0.85),
    "hair": (0.04, 0.75), "line": (-0.62, -0.34), "sides": (-0.5, 0.75), "apart": (0.21, 0.30),
    "eyes": (-0.16, -0.02), "eye": (0.07, 0.11), "brow": (0.015, 0.055), "slant": (-0.35, 0.35),
    "nose": (0.16, 0.34), "nostrils": (0.06, 0.14), "mouth": (0.36, 0.50), "lips": (0.15, 0.28),
    "lip": (0.02, 0.055), "beard": (-0.9, 0.9), "moustache": (-0.8, 0.8),
}  # fmt: skip
"""What people are drawn from, uniformly; half widths are 1. A beard or moustache is none below 0,
and the darker the larger above."""


class _Pose(NamedTuple):
    """Of each picture, (n, 1, 1): turned to a side, smile, open mouth, open eyes."""

    side: np.ndarray
    smile: np.ndarray
    mouth: np.ndarray
    eyes: np.ndarray


def faces(count: int, seed: int, glasses: bool = False, people: int = 30, of: int = 0) -> Pictures:
    """So many faces (32, 32, 1) and who they are (n,): as many pictures of each of the `people` as
    of any other up to one, in random order.

    - `glasses`: whether everybody wears eyeglasses; all else is the same with them and without.
    - `of`: seed of the people themselves; training and test pictures must share it.

    About .25 ms a picture.
    """
    for name, value in (("count", count), ("people", people)):
        if value < 1:
            raise UsageError(f"{name}: got {value}, expected 1 or more")
    rng = np.random.default_rng([of, people])
    measures = {name: rng.uniform(*ends, people) for name, ends in RANGES.items()}
    y = np.random.default_rng(seed).permutation(np.arange(count) % people)
    drawn = []
    for i in range(0, count, PART):
        who = y[i : i + PART]
        person = {k: v[who].astype(np.float32)[:, None, None] for k, v in measures.items()}
        drawn.append(_drawn(np.random.default_rng([seed, i]), person, len(who), glasses))
    return Pictures(np.concatenate(drawn), y.astype(np.int32))


def _drawn(rng, person: dict[str, np.ndarray], n: int, glasses: bool) -> Batch:
    def uniform(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (n, 1, 1)).astype(np.float32)

    across, down = grid(PIXELS, PIXELS)
    roll, scale = uniform(-0.2, 0.2), uniform(0.9, 1.1)
    across, down = across - uniform(-0.1, 0.1), down - uniform(-0.1, 0.1)
    x = (across * np.cos(roll) + down * np.sin(roll)) / scale
    y = (down * np.cos(roll) - across * np.sin(roll)) / scale
    pose = _Pose(uniform(-1, 1), uniform(-0.5, 1), uniform(0, 0.08), uniform(0.35, 1.0))
    wall = uniform(0.2, 0.8) + 0.05 * clouds(rng, n, 5, PIXELS, PIXELS)
    picture = _head(wall, person, x, y)
    inner = x - 0.16 * pose.side * np.sqrt(np.clip(1 - x * x, 0.1, 1))  # the front moves, not hair
    picture = _features(picture, person, pose, inner, y)
    if glasses:
        picture = _glasses(picture, person, inner, y)
    light = 1 + uniform(-0.4, 0.4) * x + uniform(-0.25, 0.25) * y
    picture = (picture * light * uniform(0.7, 1.15))[..., None]
    picture = blurred(picture, rng.uniform(0.2, 0.6, n).astype(np.float32), reach=1)
    return np.clip(picture + 0.03 * rng.standard_normal(picture.shape, np.float32), 0, 1)


def _on(picture: np.ndarray, tone, distance: np.ndarray) -> np.ndarray:
    return picture + cover(distance, 2 / PIXELS) * (tone - picture)


def _head(picture: np.ndarray, person: dict[str, np.ndarray], x, y) -> np.ndarray:
    """Neck and shoulders, hair behind, ears, the face, hair in front."""
    width, height, skin, hair = (person[k] for k in ("width", "height", "skin", "hair"))
    picture = _on(picture, 0.5 * hair + 0.3, ellipse(x, y - 1.25, 1.0 + 0 * width, 0.45))
    picture = _on(picture, 0.85 * skin, box(x, y - 0.8, 0.5 * width, 0.3))
    locks = ellipse(x, y + 0.1, 1.16 * width, 1.04 * height)
    picture = _on(picture, hair, np.maximum(locks, y - person["sides"]))
    for side in (-1, 1):
        picture = _on(picture, 0.9 * skin, ellipse(x - side * width, y, 0.09, 0.15))
    power = np.where(y > 0, person["jaw"], 2.0)  # a larger power is a squarer jaw
    inside = (np.abs(x / width) ** power + np.abs(y / height) ** power) ** (1 / power)
    face = (inside - 1) * width
    picture = _on(picture, skin, face)
    beard = np.maximum(face, 0.3 - y - 0.25 * np.abs(x))
    shade = np.clip(person["beard"], 0, 1)
    picture = _on(picture, skin + shade * (hair - skin), beard)
    return _on(picture, hair, np.maximum(face - 0.04, y - person["line"] - 0.15 * x * x))


def _features(picture, person: dict[str, np.ndarray], pose: _Pose, x, y) -> np.ndarray:
    """Eyes, brows, nose and mouth."""
    skin, eye = person["skin"], person["eye"]
    for side in (-1, 1):
        u, v = x - side * person["apart"], y - person["eyes"]
        white = ellipse(u, v, 1.25 * eye, 0.75 * eye * pose.eyes)
        picture = _on(picture, 0.35 * skin, white - 0.02)
        picture = _on(picture, np.float32(0.92), white)
        pupil = ellipse(u - 0.25 * eye * pose.side, v, 0.55 * eye, 0.7 * eye * pose.eyes)
        picture = _on(picture, np.float32(0.08), pupil)
        arch = v + 0.17 + 0.5 * person["slant"] * side * u
        brow = np.maximum(np.abs(arch) - person["brow"], np.abs(u) - 0.15)
        picture = _on(picture, 0.7 * person["hair"], brow)
    tip = person["nose"] + 0.04
    ridge = box(x - 0.05 * pose.side - 0.03, y - tip / 2 - 0.05, 0.02, tip / 2)
    picture = _on(picture, 0.75 * skin, ridge)
    picture = _on(picture, 0.55 * skin, ellipse(x, y - tip - 0.02, person["nostrils"], 0.035))
    shade = np.clip(person["moustache"], 0, 1)
    above = box(x, y - person["mouth"] + 0.09, 0.8 * person["lips"], 0.035)
    picture = _on(picture, skin + shade * (person["hair"] - skin), above)
    width = person["lips"] * (1 + 0.2 * pose.smile)
    bow = y - person["mouth"] + 0.12 * pose.smile * (x / width) ** 2 - 0.04 * pose.smile
    lips = np.maximum(np.abs(bow) - person["lip"] - pose.mouth, np.abs(x) - width)
    picture = _on(picture, 0.6 * skin, lips)
    gap = np.maximum(np.abs(bow) - 0.6 * pose.mouth, np.abs(x) - 0.8 * width)
    return _on(picture, np.float32(0.1), gap)


def _glasses(picture, person: dict[str, np.ndarray], x, y) -> np.ndarray:
    """Round lenses, a bridge, and temples to the ears."""
    for side in (-1, 1):
        lens = ellipse(x - side * person["apart"], y - person["eyes"], 0.19, 0.17)
        picture = _on(picture, 0.6 * picture + 0.3, lens)
        picture = _on(picture, np.float32(0.05), np.abs(lens) - 0.035)
    beyond = np.abs(np.abs(x) - person["apart"]) - 0.19  # a lens
    bar = box(x, y - person["eyes"] + 0.03, person["width"], 0.03)
    return _on(picture, np.float32(0.05), np.maximum(bar, -beyond))
