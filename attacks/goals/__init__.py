"""Goals: what an attacker maximises, as a number per model and world."""

from ._goal import AbstractGoal
from ._rows import AbstractRowGoal
from .indiscriminate import Indiscriminate, indiscriminate
from .penalised import Penalised
from .shown import Shown, shown
from .targeted import Targeted, targeted
from .towards import Towards
