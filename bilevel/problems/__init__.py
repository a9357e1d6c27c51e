"""Inner problems: immutable pytrees, differentiable in their arrays."""

from ._problem import AbstractProblem
from .box_qp import BoxQP
from .composite import Composite
from .constrained import AbstractConstrained, Constrained
from .fixed_point import FixedPoint
from .penalised_least_squares import PenalisedLeastSquares
from .product import Product
from .qp import QP
from .smooth import Smooth
from .stochastic import Stochastic
