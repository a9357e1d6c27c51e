"""Domains: sets of valid rows, targets and other decisions of an attacker."""

from ._domain import AbstractDomain
from .box import Box
from .columns import Columns
from .half_grey import half_grey
from .l1_ball import L1Ball
from .l2_ball import L2Ball
from .linf_ball import LinfBall
from .watermark import watermarked
