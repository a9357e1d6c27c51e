"""Stochastic bilevel optimisation: inner problems too large to solve, with mini-batches."""

from ._loop import Descended, State, minimize
from ._method import AbstractMethod, Triple
from ._problem import StochasticBilevel
from .amigo import AmIGO
from .f2sa import F2SA
from .saba import SABA
from .soba import SOBA
from .stocbio import StocBiO
