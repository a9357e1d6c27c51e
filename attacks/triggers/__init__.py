"""Triggers: changes of a row that a backdoored model answers to, as functions of a pattern."""

from ._trigger import AbstractTrigger
from .added import Added
from .features import Features
from .patch import Patch, blended, corner_pattern, pixel, square
from .soft_patch import Painted, SoftPatch
from .warp import Warp, warp
