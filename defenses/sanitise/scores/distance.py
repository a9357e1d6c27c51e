"""Distance to the centroid of the class (Steinhardt, Koh & Liang, NeurIPS 2017: "sphere")."""

from ._score import AbstractScore, mean


class Distance(AbstractScore):
    """|x - mean of the class|, squared."""

    def __call__(self, x, inside, outside):
        xp = x.__array_namespace__()
        return xp.sum((x - mean(x, inside)[None, :]) ** 2, axis=1)
