"""Defenses wrap a learner and give back a learner, so that an adaptive attack is the same attack
on a defended learner. One folder per kind: `sanitise` before training, `ensemble` in its place,
`repair` after it, `purify` at test time; `audit` examines a finished model.
`defenses.estimators` wraps any scikit-learn model instead.
"""

from . import scores
from ._choose import Choice, choose
from ._defense import AbstractDefense
from .audit import AbstractAudit, Verdict
from .ensemble import (
    AbstractEnsemble,
    Partition,
    SoftPartition,
    SoftVotingModel,
    VotingModel,
)
from .purify import AbstractPurifier, PurifiedModel
from .repair import (
    AbstractRepair,
    Ball,
    ClipChannels,
    Clipped,
    FinePrune,
    FineTune,
    ImplicitUnlearning,
    Prune,
    Pruned,
    Tuning,
    Unlearn,
    Unlearned,
)
from .sanitise import (
    AbstractHardSanitiser,
    AbstractSanitiser,
    AbstractSoftSanitiser,
    ConfidentLearning,
    Duplicates,
    Filter,
    Inspection,
    MicroModels,
    Relabel,
    Roni,
    Sever,
    SoftFilter,
    SoftMicroModels,
    SoftRelabel,
    SoftSever,
    SoftTrim,
    Trim,
)
