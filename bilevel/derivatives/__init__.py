"""Derivatives of an inner solution, interchangeable in `argmin` and `Bilevel`."""

from ._derivative import AbstractDerivative
from .implicit import Implicit, implicit_root
