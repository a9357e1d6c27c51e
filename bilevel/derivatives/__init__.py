"""Derivatives of an inner solution, interchangeable in `argmin` and `Bilevel`."""

from ._derivative import AbstractDerivative
from .approximate_reversal import ApproximateReversal
from .back_gradient import BackGradient
from .forward import Forward
from .implicit import Implicit, implicit_root
from .truncated import Truncated
from .unroll import Unroll
