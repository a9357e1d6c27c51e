"""Outlier scores, for `Filter` and `SoftFilter`."""

from ._score import AbstractScore
from .distance import Distance
from .neighbours import Neighbours
from .residual import Residual
from .slab import Slab
