"""Signs of the United States: stop, speed limit, warning."""

import numpy as np

from ._letters import written
from ._plate import BLACK, RED, WHITE, YELLOW, Plate
from ._shapes import box, disc, line, regular

CLASSES = ("stop", "speed limit", "warning")


def _stop() -> Plate:
    plate = Plate()
    x, y = plate.x, plate.y
    for colour, radius in ((WHITE, 0.92), (RED, 0.84)):
        plate.paint(colour, regular(x, y, 8, radius) < 0)
    return plate.paint(WHITE, written(x, y, "STOP", 0.66, 0.25))


def _speed_limit(speed: str) -> Plate:
    plate = Plate()
    x, y = plate.x, plate.y
    for colour, edge in ((WHITE, 0.0), (BLACK, 0.06), (WHITE, 0.12)):
        plate.paint(colour, box(x, y, 0.76 - edge, 0.96 - edge) < 0)
    plate.paint(BLACK, written(x, y, "SPEED", 0.5, 0.12, -0.62))
    plate.paint(BLACK, written(x, y, "LIMIT", 0.5, 0.12, -0.28))
    return plate.paint(BLACK, written(x, y, speed, 0.46, 0.36, 0.4))


def _warning(symbol: str) -> Plate:
    plate = Plate()
    x, y = plate.x, plate.y
    for colour, edge in ((YELLOW, 0.0), (BLACK, 0.05), (YELLOW, 0.11)):
        plate.paint(colour, np.abs(x) + np.abs(y) < 0.97 - edge)
    strokes = {
        "curve": [[(-0.1, 0.4), (-0.1, 0.05), (0.2, -0.35)],
                  [(-0.05, -0.3), (0.22, -0.4), (0.3, -0.1)]],
        "cross": [[(0, -0.5), (0, 0.5)], [(-0.45, 0), (0.45, 0)]],
        "side": [[(-0.1, -0.5), (-0.1, 0.5)], [(-0.1, 0.05), (0.4, 0.05)]],
        "walker": [[(0, -0.2), (-0.05, 0.15), (-0.25, 0.5)], [(-0.05, 0.15), (0.2, 0.5)],
                   [(-0.3, 0.05), (0, -0.15), (0.3, 0.05)]],
        "signal": [[(0, -0.35), (0, 0.35)]],
    }[symbol]  # fmt: skip
    for stroke in strokes:
        plate.paint(BLACK, line(x, y, stroke, 0.22 if symbol == "signal" else 0.075) < 0)
    if symbol == "walker":
        plate.paint(BLACK, disc(x, y + 0.4, 0.12) < 0)
    if symbol == "signal":
        for colour, top in ((RED, -0.33), (YELLOW, 0.0), ((0.1, 0.6, 0.3), 0.33)):
            plate.paint(colour, disc(x, y - top, 0.13) < 0)
    return plate


def plates() -> list[list[Plate]]:
    """The variants of each class."""
    return [
        [_stop()],
        [_speed_limit(speed) for speed in ("25", "30", "35", "45", "50", "65")],
        [_warning(symbol) for symbol in ("curve", "cross", "side", "walker", "signal")],
    ]
