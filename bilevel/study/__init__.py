"""The study of hypergradients: compare derivatives, check one, watch one converge."""

from ._method import Method
from .check import Check, Finding, check
from .compare import Comparison, Measured, compare
from .lag import Lag, lag
