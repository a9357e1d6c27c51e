"""Goals: objectives of attackers, as functions of the model and the world."""

from ._goal import AbstractGoal
from ._rows import AbstractRowGoal
from .align import Align
from .backdoor import backdoor
from .bullseye import Bullseye
from .cancelling import Cancelling
from .collide import AbstractCollision, Collide
from .colliding import Colliding
from .combined import AtMost, Near, Sum
from .disparity import Disparity, SoftError, disparity
from .energy import Energy, answering
from .frogs import Frogs
from .group_loss import group_loss, unwanted
from .indiscriminate import Indiscriminate, indiscriminate
from .penalised import Penalised
from .polytope import Polytope
from .resembling import Resembling
from .shown import Shown, shown
from .targeted import Targeted, targeted
from .towards import Towards
from .unit import Unit
