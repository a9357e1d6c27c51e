"""Attacks on training: capabilities (what may change), goals (what for) and their composition."""

from . import capabilities, domains, frames, goals
from ._compose import Attack, compose
from .capabilities import (
    XY,
    AbstractCapability,
    FlipLabels,
    Insert,
    InsertNear,
    InsertXY,
    Perturb,
    Reseed,
)
from .classifier_poisoning import poison_classifier
from .domains import AbstractDomain, Box, Columns, L1Ball, L2Ball, LinfBall
from .feature_selection import (
    kuncheva_index,
    lustgarten_index,
    poison_feature_selection,
    selected,
)
from .goals import indiscriminate, targeted
from .label_flips import LabelFlips, flip_by_hypergradient, flip_greedy, flip_random
from .regression_poisoning import b_flip, inv_flip, poison_regression, stat_p
from .svm_poisoning import poison_svm
from .transfer import (
    Alignment,
    Sizes,
    gradient_alignment,
    gradient_size,
    input_gradient_size,
    loss_variability,
)
