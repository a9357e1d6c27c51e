"""Domains: the sets that rows, targets and other decisions of an attacker may lie in."""

from ._domain import AbstractDomain
from .box import Box
from .columns import Columns
from .l1_ball import L1Ball
from .l2_ball import L2Ball
from .linf_ball import LinfBall
