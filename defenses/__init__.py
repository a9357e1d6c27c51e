"""Defenses wrap a learner and give back a learner, so that an adaptive attack is the same attack
on a defended learner. `defenses.estimators` wraps any scikit-learn model instead.
"""

from . import scores
from ._defense import AbstractDefense, Inspection
from .filter import Filter, SoftFilter
from .micro_models import MicroModels, SoftMicroModels
from .partition import Partition, SoftPartition, SoftVotingModel, VotingModel
from .relabel import Relabel, SoftRelabel
from .roni import Roni
from .sever import Sever, SoftSever
from .soft_trim import SoftTrim
from .trim import Trim
