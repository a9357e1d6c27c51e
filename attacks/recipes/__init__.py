"""Published attacks, one per file: composed attacks with the settings of their ascent."""

from ._recipe import Recipe
from .classifier_poisoning import poison_classifier
from .feature_selection import (
    kuncheva_index,
    lustgarten_index,
    poison_feature_selection,
    selected,
)
from .gradient_cancelling import cancel_gradients, corrupted
from .gradient_descent_ascent import Joint, descend_ascend
from .label_flips import LabelFlips, flip_by_hypergradient, flip_greedy, flip_random
from .network_poisoning import Greedy, one_by_one, poison_network
from .regression_poisoning import b_flip, inv_flip, poison_regression, stat_p
from .svm_poisoning import poison_svm
