"""Solvers of inner problems, each with the optimality conditions of its solutions."""

from .constrained._kkt import KKTPoint
from .constrained.interior_point import PrimalDual
from .constrained.relaxed import Relaxed
from .each import Each, Stack
from .path.clipped import Clipped
from .path.descent import Descent
from .path.momentum import Momentum
from .path.picard import Picard
from .path.projected_gradient import ProjectedGradient
from .path.proximal_gradient import ProximalGradient
from .qp.active_set import ActiveSet
from .smooth.anderson import Anderson
from .smooth.lbfgs import LBFGS
from .smooth.newton import Newton
from .smooth.newton_cg import NewtonCG
from .sparse.fista import FISTA
from .sparse.working_set import WorkingSet
