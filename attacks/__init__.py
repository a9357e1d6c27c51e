"""Attacks on training: capabilities (feasible changes), goals, and their composition."""

from . import capabilities, domains, fairness, frames, goals, recipes, triggers
from ._compose import Attack, compose, training_key
from ._world import World
from .capabilities import (
    XY,
    AbstractCapability,
    Evade,
    FlipLabels,
    Insert,
    InsertNear,
    InsertXY,
    Perturb,
    Reseed,
    Stamp,
    WithTrigger,
    stamp,
)
from .domains import (
    AbstractDomain,
    Box,
    Columns,
    L1Ball,
    L2Ball,
    LinfBall,
    half_grey,
    watermarked,
)
from .goals import (
    AbstractGoal,
    backdoor,
    disparity,
    group_loss,
    indiscriminate,
    shown,
    targeted,
)
from .label_maps import AbstractLabelMap, AllToNext, AllToOne, Given, ToRandom
from .recipes import (
    Approach,
    Greedy,
    Hidden,
    Joint,
    LabelFlips,
    Planted,
    Recipe,
    anchor_popular,
    anchor_random,
    approach_model,
    b_flip,
    cancel_gradients,
    collide_features,
    corrupted,
    descend_ascend,
    flip_by_hypergradient,
    flip_greedy,
    flip_groups,
    flip_random,
    hide_from_pruning,
    influence_fairness,
    inv_flip,
    kuncheva_index,
    lustgarten_index,
    one_by_one,
    poison_classifier,
    poison_fairness,
    poison_feature_selection,
    poison_network,
    poison_regression,
    poison_svm,
    selected,
    stat_p,
)
from .sponge import Sponge
from .transfer import (
    Alignment,
    Sizes,
    gradient_alignment,
    gradient_size,
    input_gradient_size,
    loss_variability,
)
from .triggers import AbstractTrigger
from .victims import Judged, Rates, Victims, judge, victims
