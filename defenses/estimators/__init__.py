"""Defenses as scikit-learn meta-estimators, around any scikit-learn model. Needs scikit-learn."""

from .confident_learning import ConfidentLearningClassifier
from .duplicates import DuplicatesClassifier, DuplicatesRegressor
from .filter import FilterClassifier, FilterRegressor
from .micro_models import MicroModelsClassifier
from .partition import PartitionClassifier
from .relabel import RelabelClassifier
from .roni import RoniClassifier, RoniRegressor
from .sever import SeverClassifier, SeverRegressor
from .trim import TrimClassifier, TrimRegressor
