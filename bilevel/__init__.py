"""bilevel: differentiable bilevel optimisation, with certified hypergradients."""

from . import (
    derivatives,
    learners,
    linear,
    losses,
    networks,
    penalties,
    problems,
    results,
    solvers,
    stochastic,
    study,
    tools,
)
from ._argmin import argmin
from ._ascent import Ascent
from ._batch import batch
from ._bilevel import AbstractBilevel, AbstractObjective, Bilevel, Info, Outcome, Posed
from ._certificate import Certificate
from ._certify import certify
from ._checkpoint import Checkpoint
from ._data import Data, append
from ._draws import Expected, Fresh, Frozen
from ._iteration import AbstractIteration
from ._maximize import Optimized, State, Step, maximize, minimize, value_only
from ._members import Members
from ._solution import Solution, SolveError
from ._solver import AbstractSolver, Point
from ._sweep import Item, Swept, sweep
from ._together import Together
from .study import Method, check, compare, lag
