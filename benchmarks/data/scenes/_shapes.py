"""Shapes as signed distances, negative inside: functions of coordinates, with broadcasting."""

import itertools
import math
from collections.abc import Sequence

import numpy as np


def disc(x, y, radius):
    """About the origin."""
    return np.sqrt(x * x + y * y) - radius


def ellipse(x, y, width, height):
    """About the origin, with these half axes; exact on the edge only."""
    inner = np.sqrt((x / width) ** 2 + (y / height) ** 2)
    return (inner - 1) * np.asarray(np.minimum(width, height), inner.dtype)


def box(x, y, width, height):
    """About the origin, with these half sides."""
    return np.maximum(np.abs(x) - width, np.abs(y) - height)


def regular(x, y, corners: int, radius: float, turn: float = 0.0):
    """A polygon whose sides are `radius` away from the origin; with a turn of 0 one of them is at
    the right.
    """
    angles = [2 * math.pi * i / corners + turn for i in range(corners)]
    sides = [x * math.cos(a) + y * math.sin(a) for a in angles]
    return np.maximum.reduce(sides) - radius


def line(x, y, points: Sequence[tuple[float, float]], width: float):
    """The points, joined by strokes of this half width with round ends."""
    parts = []
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        dx, dy = x1 - x0, y1 - y0
        along = ((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy)
        along = np.clip(along, 0, 1)
        parts.append(np.hypot(x - x0 - along * dx, y - y0 - along * dy))
    return np.minimum.reduce(parts) - width


def cover(distance, soft):
    """The share of a pixel that a shape covers: 1 inside, 0 outside, over an edge `soft` wide."""
    return np.clip(0.5 - distance / soft, 0, 1)
