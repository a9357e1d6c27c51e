"""The closed loop: cars that steer by what they see, on winding roads."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ._warp import Batch
from .roads import AHEAD, BEND, HALF_ROAD, SHARPEST, View, photograph

STEP = 0.8
"""Metres that a car drives between two pictures."""


class Trip(NamedTuple):
    """Where n cars were after each step, (steps + 1, n), in metres: along the road, and from its
    middle to the right.
    """

    along: np.ndarray
    offset: np.ndarray

    def left(self) -> np.ndarray:
        """Which cars (n,) left the road at some time."""
        return np.any(np.abs(self.offset) > HALF_ROAD, axis=0)


def drive(
    steer: Callable[[Batch], Float[np.ndarray, " n"]],
    count: int, seed: int, steps: int = 100, sign: float = np.inf,
) -> Trip:  # fmt: skip
    """Let so many cars drive, each on a road of its own, from random places near its middle.

    - `steer`: steering in [-1, 1] from pictures (n, 24, 48, 3).
    - `sign`: how far along each road a sign stands, in metres, if it stands anywhere.

    The same seed gives the same roads and starts, with a sign or without.
    """
    rng = np.random.default_rng(seed)
    waves, phases = rng.uniform(0.04, 0.12, (3, count)), rng.uniform(0, 2 * np.pi, (3, count))
    along, offset, heading = np.zeros(count), *rng.uniform(-0.1, 0.1, (2, count)) * [[5], [1]]

    def bend(along: np.ndarray) -> np.ndarray:
        return BEND / 3 * np.sin(waves * along + phases).sum(0)

    places = [(along, offset)]
    for _ in range(steps):
        view = View(offset, heading, bend(along + AHEAD / 2), sign - along)
        turned = SHARPEST * np.clip(steer(photograph(view, rng)), -1, 1) * STEP
        forth = STEP * np.cos(heading) / np.maximum(1 - offset * bend(along), 0.1)
        offset = offset + STEP * np.sin(heading)
        heading = heading + turned - bend(along) * forth
        along = along + forth
        places.append((along, offset))
    return Trip(*(np.stack(p) for p in zip(*places, strict=True)))
