"""Solvers of inner problems, each with the optimality conditions of its solutions."""

from ._kkt import KKTPoint
from .active_set import ActiveSet
from .anderson import Anderson
from .descent import Descent
from .each import Each, Stack
from .fista import FISTA
from .interior_point import PrimalDual
from .lbfgs import LBFGS
from .momentum import Momentum
from .newton import Newton
from .newton_cg import NewtonCG
from .projected_gradient import ProjectedGradient
from .proximal_gradient import ProximalGradient
from .relaxed import Relaxed
from .working_set import WorkingSet
