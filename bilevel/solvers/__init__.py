"""Solvers of inner problems. Each states the conditions its minimiser satisfies."""

from .active_set import ActiveSet
from .anderson import Anderson
from .descent import Descent
from .lbfgs import LBFGS
from .newton import Newton
from .newton_cg import NewtonCG
