"""Signs of Sweden, in five kinds: information, mandatory, prohibitory, warning, other."""

import numpy as np

from ._letters import written
from ._plate import BLACK, BLUE, RED, WHITE, YELLOW, Plate
from ._shapes import box, disc, line, regular

CLASSES = ("information", "mandatory", "prohibitory", "warning", "other")
UP, DOWN = -np.pi / 2, np.pi / 2


def _information(symbol: str) -> Plate:
    plate = Plate()
    x, y = plate.x, plate.y
    plate.paint(WHITE, box(x, y, 0.86, 0.86) < 0).paint(BLUE, box(x, y, 0.8, 0.8) < 0)
    if symbol == "crossing":  # a walker in a white triangle
        plate.paint(WHITE, regular(x, y - 0.18, 3, 0.4, DOWN) < 0)
        plate.paint(BLACK, line(x, y, [(0, -0.1), (0, 0.2), (-0.15, 0.5)], 0.06) < 0)
        return plate.paint(BLACK, line(x, y, [(0, 0.2), (0.15, 0.5)], 0.06) < 0)
    if symbol == "one way":
        plate.paint(WHITE, line(x, y, [(0, 0.55), (0, -0.5)], 0.1) < 0)
        return plate.paint(WHITE, line(x, y, [(-0.3, -0.2), (0, -0.5), (0.3, -0.2)], 0.1) < 0)
    return plate.paint(WHITE, written(x, y, symbol, 0.34, 0.5))


def _mandatory(symbol: str) -> Plate:
    plate = Plate()
    x, y = plate.x, plate.y
    plate.paint(WHITE, disc(x, y, 0.92) < 0).paint(BLUE, disc(x, y, 0.85) < 0)
    if symbol == "round":
        ring = np.abs(disc(x, y, 0.42)) - 0.09
        plate.paint(WHITE, ring < 0)
        return plate.paint(BLUE, line(x, y, [(0, 0), (0.5, 0.5)], 0.1) < 0)
    turn = {"right": 0, "ahead": 1, "left": 2, "keep right": -0.5}[symbol]
    cos, sin = np.cos(turn * np.pi / 2), np.sin(turn * np.pi / 2)
    u, v = x * cos - y * sin, x * sin + y * cos  # the arrow points along u
    plate.paint(WHITE, line(u, v, [(-0.55, 0), (0.5, 0)], 0.1) < 0)
    return plate.paint(WHITE, line(u, v, [(0.15, -0.35), (0.52, 0), (0.15, 0.35)], 0.1) < 0)


def _prohibitory(symbol: str) -> Plate:
    plate = Plate()
    x, y = plate.x, plate.y
    plate.paint(RED, disc(x, y, 0.92) < 0)
    if symbol == "no entry":
        return plate.paint(YELLOW, box(x, y, 0.62, 0.16) < 0)
    if symbol == "no parking":
        plate.paint(BLUE, disc(x, y, 0.7) < 0)
        return plate.paint(RED, line(x, y, [(-0.55, -0.55), (0.55, 0.55)], 0.09) < 0)
    plate.paint(YELLOW, disc(x, y, 0.68) < 0)
    return plate.paint(BLACK, written(x, y, symbol, 0.45, 0.34))


def _warning(symbol: str) -> Plate:
    plate = Plate()
    x, y = plate.x, plate.y - 0.3
    plate.paint(RED, regular(x, y, 3, 0.6, DOWN) < 0).paint(
        YELLOW, regular(x, y, 3, 0.42, DOWN) < 0
    )
    strokes = {
        "cross": [[(0, -0.35), (0, 0.3)], [(-0.25, 0), (0.25, 0)]],
        "curve": [[(-0.1, 0.3), (-0.1, 0), (0.12, -0.2)]],
        "walker": [[(0, -0.4), (0, 0), (-0.15, 0.3)], [(0, 0), (0.15, 0.3)]],
        "other": [[(0, -0.4), (0, 0.02)], [(0, 0.25), (0, 0.27)]],
    }[symbol]
    for stroke in strokes:
        plate.paint(BLACK, line(x, y, stroke, 0.075) < 0)
    return plate


def _other(symbol: str) -> Plate:
    plate = Plate()
    x, y = plate.x, plate.y
    if symbol == "yield":
        for colour, radius in ((RED, 0.6), (YELLOW, 0.42)):
            plate.paint(colour, regular(x, y + 0.3, 3, radius, UP) < 0)
        return plate
    if symbol == "stop":
        for colour, radius in ((WHITE, 0.92), (RED, 0.84)):
            plate.paint(colour, regular(x, y, 8, radius) < 0)
        return plate.paint(WHITE, written(x, y, "STOP", 0.66, 0.25))
    for colour, edge in ((WHITE, 0.94), (BLACK, 0.88), (WHITE, 0.84), (YELLOW, 0.6)):
        plate.paint(colour, np.abs(x) + np.abs(y) < edge)
    return plate


def plates() -> list[list[Plate]]:
    """The variants of each class."""
    return [
        [_information(symbol) for symbol in ("P", "H", "crossing", "one way")],
        [_mandatory(symbol) for symbol in ("right", "ahead", "left", "keep right", "round")],
        [_prohibitory(symbol) for symbol in ("30", "50", "70", "no entry", "no parking")],
        [_warning(symbol) for symbol in ("cross", "curve", "walker", "other")],
        [_other(symbol) for symbol in ("yield", "stop", "priority")],
    ]
