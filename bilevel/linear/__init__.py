"""Linear solvers for the adjoint system A v = r of the implicit derivative."""

from ._linear import AbstractLinearSolver, Operator
from .cg import CG
from .damped import Damped
from .dense import Dense
from .factor import Factor
from .gmres import GMRES
from .neumann import Neumann
from .nystrom import Nystrom
