"""Defenses after training: they change the model."""

from ._repair import AbstractRepair
from .clip_channels import ClipChannels, Clipped
from .fine_prune import FinePrune
from .fine_tune import FineTune
from .implicit_unlearning import Ball, ImplicitUnlearning, Unlearned
from .prune import Prune, Pruned
from .tuning import Tuning
from .unlearn import Unlearn
