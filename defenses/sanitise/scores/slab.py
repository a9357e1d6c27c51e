"""Distance along the line between the centroids (Steinhardt, Koh & Liang, NeurIPS 2017: "slab")."""

from ._score import AbstractScore, mean


class Slab(AbstractScore):
    """|(x - own mean)'(own mean - mean of the other classes)|. Of one class alone, or where the
    means are the same: all zero.
    """

    def __call__(self, x, own, other):
        xp = x.__array_namespace__()
        centre = mean(x, own)
        line = centre - mean(x, other)
        size, rounding = xp.mean(xp.sum(x**2, axis=1)), 1024 * xp.finfo(x.dtype).eps ** 2
        apart = (xp.sum(other) > 0) & (xp.sum(line**2) > rounding * size)
        line = xp.where(apart, line, xp.zeros_like(line))
        return xp.abs((x - centre[None, :]) @ line)
