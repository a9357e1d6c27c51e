"""Defenses wrap a learner and give back a learner, so that an adaptive attack is the same attack
on a defended learner. One folder per kind: `sanitise` before training, `ensemble` in its place,
`repair` after it, `purify` at test time; `audit` examines a finished model.
`defenses.estimators` wraps any scikit-learn model instead.
"""

from . import models, scores
from ._choose import Choice, choose
from ._defense import AbstractDefense
from .audit import (
    AbstractAudit,
    AbstractTriggerAudit,
    ComparedLabels,
    LabelHistogram,
    NeuralCleanse,
    Overlap,
    RestoredTriggers,
    Tabor,
    TaborTerms,
    TriggerSearch,
    Verdict,
    WrongLabels,
    overlap,
)
from .ensemble import (
    AbstractEnsemble,
    Partition,
    SoftPartition,
    SoftVotingModel,
    VotingModel,
)
from .purify import (
    AbstractPurifier,
    Februus,
    FewerLevels,
    Inpainter,
    Inpainting,
    MeanFill,
    MeanFilter,
    MedianFilter,
    PurifiedModel,
    ScreenedModel,
    StraightThrough,
    Strip,
    grad_cam,
    heat_map,
    hires_cam,
)
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
    ActivationClustering,
    ConfidentLearning,
    DeepNeighbours,
    Duplicates,
    Excluded,
    Filter,
    Inspection,
    MicroModels,
    NearOther,
    Relabel,
    Roni,
    Sever,
    Silhouette,
    SmallCluster,
    SoftFilter,
    SoftMicroModels,
    SoftRelabel,
    SoftSever,
    SoftTrim,
    SpectralSignatures,
    Trim,
)
