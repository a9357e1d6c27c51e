"""Defenses wrap a learner and give back a learner, so that an adaptive attack is the same attack
on a defended learner.
"""

from . import scores
from ._defense import AbstractDefense, Inspection
from .filter import Filter, SoftFilter
from .soft_trim import SoftTrim
from .trim import Trim
