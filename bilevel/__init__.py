"""bilevel: differentiable bilevel optimisation, with hypergradients that say how right they are."""

from . import (
    derivatives,
    learners,
    linear,
    losses,
    penalties,
    problems,
    solvers,
    stochastic,
    study,
)
from ._argmin import argmin
from ._bilevel import AbstractBilevel, Bilevel
from ._solution import Solution, SolveError
from .batch import batch
from .certificate import Certificate, certify
from .data import Data, append
from .maximize import maximize, minimize
from .study import Method, check, compare, lag
