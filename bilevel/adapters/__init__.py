"""Other libraries' minimisers as inner solvers. A library is imported at its first use."""

from .jaxopt import Jaxopt
from .optimistix import Optimistix
