"""Penalties of proximal problems. Each has a prox, faces, and slopes along them."""

from ._penalty import AbstractPenalty
from .box import Box
from .elastic_net import ElasticNet
from .group_l1 import GroupL1
from .kink import AbstractKink
from .l1 import L1
from .non_negative import NonNegative
