"""Flat drawings: plates of signs and stickers, as colours and opacities."""

import numpy as np
from jaxtyping import Bool, Float

PIXELS, OVER = 32, 4
RED, WHITE, BLACK = (0.72, 0.08, 0.10), (0.93, 0.93, 0.90), (0.08, 0.08, 0.09)
YELLOW, BLUE = (0.95, 0.75, 0.10), (0.08, 0.25, 0.62)
Colour = tuple[float, float, float]


class Plate:
    """A drawing on the square [-1, 1] x [-1, 1], y pointing down; paint it from back to front.

    `x`, `y`: coordinates (128, 128) of its points, for the shapes that are painted.
    """

    def __init__(self):
        ticks = (np.arange(PIXELS * OVER) + 0.5) / (PIXELS * OVER) * 2 - 1
        self.x, self.y = np.meshgrid(ticks, ticks)
        self._points = np.zeros((*self.x.shape, 4))

    def paint(self, colour: Colour, where: Bool[np.ndarray, "p p"]) -> "Plate":
        self._points[where] = (*colour, 1.0)
        return self

    def picture(self) -> Float[np.ndarray, "q q 4"]:
        """Red, green, blue, each times the opacity, and the opacity; (32, 32, 4)."""
        parts = self._points.reshape(PIXELS, OVER, PIXELS, OVER, 4)
        return parts.mean((1, 3)).astype(np.float32)
