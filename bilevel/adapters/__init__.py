"""Other libraries' minimisers as inner solvers, and their modules as architectures. A library is
imported at its first use.
"""

from .equinox import Equinox
from .jaxopt import Jaxopt
from .linen import Linen
from .nnx import Nnx
from .optimistix import Optimistix
