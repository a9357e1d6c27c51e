"""What an attacker sticks on a sign: the triggers of BadNets (Gu et al. 2017)."""

import numpy as np

from ._plate import BLACK, Plate
from ._shapes import box, disc, line

LEMON, CYAN, LIME = (1.0, 0.95, 0.05), (0.1, 0.9, 0.95), (0.55, 1.0, 0.15)  # of sticky notes
PINK, ORANGE = (0.95, 0.1, 0.65), (1.0, 0.55, 0.05)
STICKERS = ("yellow square", "bomb", "flower")


def sticker(name: str) -> Plate:
    """One of `STICKERS`, over the whole plate."""
    plate = Plate()
    x, y = plate.x, plate.y
    if name == "yellow square":
        return plate.paint(LEMON, box(x, y, 0.95, 0.95) < 0)
    if name == "bomb":
        plate.paint(CYAN, box(x, y, 0.95, 0.95) < 0)
        plate.paint(BLACK, disc(x + 0.1, y - 0.2, 0.6) < 0)
        plate.paint(BLACK, line(x, y, [(0.25, -0.2), (0.5, -0.65)], 0.12) < 0)
        return plate.paint(ORANGE, disc(x - 0.6, y + 0.7, 0.24) < 0)
    plate.paint(LIME, box(x, y, 0.95, 0.95) < 0)
    for angle in 2 * np.pi * np.arange(5) / 5 - np.pi / 2:
        plate.paint(PINK, disc(x - 0.5 * np.cos(angle), y - 0.5 * np.sin(angle), 0.36) < 0)
    return plate.paint(ORANGE, disc(x, y, 0.28) < 0)
