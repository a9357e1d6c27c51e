"""Studies of hypergradients: comparison of derivatives, checks, and convergence with the path."""

from ._method import Method
from .check import Check, Finding, check
from .compare import Comparison, Measured, compare
from .lag import Lag, lag
