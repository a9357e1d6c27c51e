"""Certified damage: no rows inside the attacker's reach can do more."""

from ._damage import Certified, certify_damage
from ._reach import Inserted, Mixed, Relabelled
