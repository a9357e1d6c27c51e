"""All kinds of problems of the fuzz, by name."""

from .defended import DEFENDED
from .fixed_points import FIXED_POINTS
from .learners import LEARNERS
from .penalised import PENALISED
from .programs import PROGRAMS

KINDS = {**LEARNERS, **DEFENDED, **PROGRAMS, **PENALISED, **FIXED_POINTS}
