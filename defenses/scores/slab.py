"""Distance along the line between the centroids (Steinhardt, Koh & Liang, NeurIPS 2017: "slab")."""

from ._score import AbstractScore, mean


class Slab(AbstractScore):
    """|(x - own mean)'(own mean - mean of the other classes)|. Of one class alone: all zero."""

    def __call__(self, x, own, other):
        xp = x.__array_namespace__()
        centre = mean(x, own)
        line = xp.where(xp.sum(other) > 0, centre - mean(x, other), xp.zeros_like(centre))
        return xp.abs((x - centre[None, :]) @ line)
