"""Goals: what an attacker maximises, as a number per model."""

from ._goal import AbstractGoal
from .indiscriminate import Indiscriminate, indiscriminate
from .penalised import Penalised
from .targeted import Targeted, targeted
from .towards import Towards
