"""Defenses before training: they drop, weigh down or relabel rows."""

from . import scores
from ._inspection import Inspection
from ._sanitiser import AbstractHardSanitiser, AbstractSanitiser, AbstractSoftSanitiser
from .activation_clustering import ActivationClustering
from .cluster_rules import Excluded, NearOther, Silhouette, SmallCluster
from .confident_learning import ConfidentLearning
from .deep_neighbours import DeepNeighbours
from .duplicates import Duplicates
from .filter import Filter
from .micro_models import MicroModels
from .relabel import Relabel
from .roni import Roni
from .sever import Sever
from .soft_filter import SoftFilter
from .soft_micro_models import SoftMicroModels
from .soft_relabel import SoftRelabel
from .soft_sever import SoftSever
from .soft_trim import SoftTrim
from .spectral import SpectralSignatures
from .trim import Trim
