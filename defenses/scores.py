"""Outlier scores, for `Filter` and `SoftFilter`: `defenses.sanitise.scores` by its short name."""

from .sanitise.scores import AbstractScore, Distance, Neighbours, Residual, Slab

__all__ = ["AbstractScore", "Distance", "Neighbours", "Residual", "Slab"]
