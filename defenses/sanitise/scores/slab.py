"""Distance along the line between the centroids (Steinhardt, Koh & Liang, NeurIPS 2017: "slab")."""

from ._score import AbstractScore, mean


class Slab(AbstractScore):
    """|(x - m)'(m - mean of the other classes)|, with m the mean of the class. Of one class alone,
    or where the means are the same: all zero.
    """

    def __call__(self, x, inside, outside):
        xp = x.__array_namespace__()
        centre = mean(x, inside)
        line = centre - mean(x, outside)
        size, rounding = xp.mean(xp.sum(x**2, axis=1)), 1024 * xp.finfo(x.dtype).eps ** 2
        apart = (xp.sum(outside) > 0) & (xp.sum(line**2) > rounding * size)
        line = xp.where(apart, line, xp.zeros_like(line))
        return xp.abs((x - centre[None, :]) @ line)
