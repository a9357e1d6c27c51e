"""Poison Frogs: base images, poison of each kind, their difference, and the target."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import ArrayLike
from matplotlib.figure import Figure

from .polytope import gallery
from .style import new_figure


def draw(bases: ArrayLike, poisons: Mapping[str, ArrayLike], targets: ArrayLike) -> Figure:
    """A block of three targets for each kind of poison."""
    fig = new_figure(4.6 * len(poisons), 4.4)
    parts: Any = fig.subfigures(1, len(poisons), squeeze=False)[0]
    for part, (kind, images) in zip(parts, poisons.items(), strict=True):
        part.suptitle(kind, fontsize=12)
        cells = part.subplots(len(np.asarray(images)), 4, squeeze=False)
        gallery(cells, bases, images, targets)
    return fig
