"""Inner problems: immutable pytrees whose arrays are what a hypergradient is taken in."""

from ._problem import AbstractProblem
from .box_qp import BoxQP
from .smooth import Smooth
