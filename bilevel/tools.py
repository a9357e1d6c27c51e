"""Functions for authors of solvers, learners, attacks and defenses."""

from ._argmin import hoist
from ._batch import unstacked
from ._bilevel import worst
from ._data import require_finite
from ._program import program
from ._solution import checked
from ._tree import (
    all_finite,
    concrete,
    dot,
    norm,
    require_count,
    require_floating,
    stop_gradient,
)
from .learners._checks import require_classes, require_table, require_weights, strength
