"""Other libraries' minimisers as inner solvers. Each library is imported when first used."""

from .jaxopt import Jaxopt
from .optimistix import Optimistix
