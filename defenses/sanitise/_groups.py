"""The groups of rows that a filter scores apart, and what it asks of its arguments."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from bilevel import Data
from bilevel.tools import concrete

from .scores import AbstractScore

CLASSES = (-1.0, 1.0)


def members(classes: tuple[float, ...], data: Data) -> list[Bool[Array, " n"]]:
    """The rows of each class, masks (n,); all rows if there are no classes."""
    labels = data.targets()
    if not classes:
        return [jnp.ones(data.rows, bool)]
    return [labels == label for label in classes]


def require_labels(classes: tuple[float, ...], data: Data) -> None:
    """ValueError unless the (concrete) labels are among the classes, if there are any."""
    if classes and concrete(data.y):
        wrong = np.setdiff1d(np.asarray(data.y), classes)
        if wrong.size:
            raise ValueError(
                f"classes: got {classes}, but a row has the label {wrong[0]:g}; name all "
                "labels, or none, classes=(), for a regression"
            )


def score_argument(score: AbstractScore) -> AbstractScore:
    """The score itself; ValueError that names the choices for anything else."""
    if not isinstance(score, AbstractScore):
        raise ValueError(
            f"score: got {score!r}, expected scores.Distance(), Slab(), Residual() or Neighbours()"
        )
    return score
