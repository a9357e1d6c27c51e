"""Inner problems: immutable pytrees whose arrays are what a hypergradient is taken in."""

from ._problem import AbstractProblem
from .box_qp import BoxQP
from .fixed_point import FixedPoint
from .smooth import Smooth
from .stochastic import Stochastic
