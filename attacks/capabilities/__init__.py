"""Capabilities: feasible changes of training rows and of rows to predict."""

from ..domains import Box
from ._capability import AbstractCapability
from .evade import Evade
from .flip_labels import FlipLabels
from .insert import Insert
from .insert_near import InsertNear
from .insert_xy import XY, InsertXY
from .perturb import Perturb
from .reseed import Reseed
from .stamp import Stamp, stamp
from .with_trigger import WithTrigger
