"""Defenses without training: they examine a model that is given."""

from ._audit import AbstractAudit, Verdict
from ._reconstruction import RestoredTriggers, TriggerSearch
from ._trigger_audit import AbstractTriggerAudit, ComparedLabels
from .neural_cleanse import NeuralCleanse
from .overlap import Overlap, overlap
from .tabor import Tabor, TaborTerms
from .wrong_labels import LabelHistogram, WrongLabels
