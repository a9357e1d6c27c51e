"""Spectral signatures (Tran, Li & Madry, NeurIPS 2018)."""

import jax.numpy as jnp
from jax import lax

from bilevel.learners import AbstractLearner
from bilevel.tools import stop_gradient

from .._arguments import share_argument
from .._hash import row_hash
from ._features import AbstractFeatureSanitiser, Judged, centred, principal
from ._quotas import Quota, class_size
from ._selection import first_lowest, level


class SpectralSignatures(AbstractFeatureSanitiser):
    """Of each class, drops the rows furthest along its direction of most variance in the features:
    1.5 times the share `contamination` of the class, as published.

    The score is the squared distance along that direction. Clean classes lose as many rows. Stops
    copies that are a minority of a class; not a half of it, which is as far from the mean as the
    other half.
    """

    learner: AbstractLearner
    contamination: float

    def __init__(self, learner: AbstractLearner, contamination: float = 0.1):
        self.learner = learner
        self.contamination = share_argument("contamination", contamination)

    def judge(self, rows):
        def of_class(inside):
            x = centred(rows, inside)
            direction, _ = principal(x, 1)
            return (x @ direction[:, 0]) ** 2

        score = jnp.sum(lax.map(of_class, rows.members()), axis=0)
        dropped = min(1.5 * self.contamination, 1.0)
        size = class_size(rows.group, rows.used)
        least = jnp.maximum(size - jnp.round(dropped * size), 1).astype(jnp.int32)
        tie = row_hash(stop_gradient(rows.data.x).reshape(len(score), -1), rows.group)
        keep = first_lowest(level(score), rows.used, tie, Quota(least, rows.group))
        return Judged(rows.used & ~keep, score)
