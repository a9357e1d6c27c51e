"""Defenses in place of training: a vote of members that are trained on parts of the data."""

from ._ensemble import AbstractEnsemble
from .partition import Partition
from .soft_partition import SoftPartition
from .votes import SoftVotingModel, VotingModel
