"""Copies: of rows that are the same, but for rounding, few are kept."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from bilevel.learners import AbstractLearner
from bilevel.tools import require_count, stop_gradient

from .._arguments import positive_argument
from .._hash import row_hash
from ._inspection import Inspection, reweighed
from ._quotas import Quota, class_size
from ._sanitiser import AbstractHardSanitiser, mask_of
from ._selection import first_lowest
from ._sets import groups_of


class Duplicates(AbstractHardSanitiser):
    """Of rows with equal features and labels, keep `copies` at most.

    - `copies`: how many of equal rows are kept.
    - `tolerance`: rows are equal if they fall into the same cell of a grid, in every column of this
      width times its standard deviation (rounded down to a power of two).

    The score is the number of rows in a cell. Stops one poison row sent many times, as mails that
    hold every word; near-copies across the edge of a cell, or further apart than it, pass. Tables
    of few whole numbers have equal rows that are clean: raise `copies`. Two rows in 4e9 share a
    cell by chance.
    """

    learner: AbstractLearner
    copies: int
    tolerance: float

    def __init__(self, learner: AbstractLearner, copies: int = 1, tolerance: float = 1e-6):
        self.learner, self.copies = learner, require_count("copies", copies)
        self.tolerance = positive_argument("tolerance", tolerance)

    @eqx.filter_jit
    def inspect(self, data, *, key=None):
        del key  # nothing is trained
        given = stop_gradient(data)
        x, y, used = given.x.reshape(data.rows, -1), given.targets(), given.weight > 0
        keep, many = first_copies(x, y, used, self.copies, self.tolerance)
        kept = reweighed(data, mask_of(keep, data.weight))
        return Inspection(kept, many.astype(x.dtype), jnp.int32(0))


def first_copies(x: Any, y: Any, used: Any, copies: int, tolerance: float) -> tuple[Any, Any]:
    """(a mask (n,) of `copies` rows at most of each cell, how many rows used each cell holds), for
    rows x (n, d) with labels y (n,). NumPy's and JAX's arrays alike; no order of the rows decides.
    """
    xp = x.__array_namespace__()
    mask = used[:, None]
    x = x - xp.min(xp.where(mask, x, xp.full_like(x, xp.inf)), axis=0)[None, :]
    ordered = xp.sort(xp.where(mask, x, xp.zeros_like(x)), axis=0)  # sums of it have one rounding
    rows = xp.astype(xp.sum(used), x.dtype)
    variance = xp.sum(ordered**2, axis=0) / rows - (xp.sum(ordered, axis=0) / rows) ** 2
    spread = xp.sqrt(xp.where(variance > 0, variance, xp.ones_like(variance)))
    width = tolerance * 2 ** xp.floor(xp.log2(spread))
    cells = row_hash(xp.round(x / width[None, :]), y)
    group = xp.astype(groups_of(cells), x.dtype)
    least = xp.full(used.shape, copies, dtype=xp.int32)
    keep = first_lowest(xp.zeros_like(group), used, row_hash(x, y), Quota(least, group))
    return keep, class_size(group, used)
