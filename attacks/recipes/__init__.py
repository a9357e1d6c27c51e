"""Published attacks, one per file: composed attacks with the settings of their ascent.

What they have in common. Those that insert rows take `weight`: rows of weight zero have no effect,
so that attacks with up to m rows share a compiled program. They take `goal`, except where a goal is
the attack: feature selection, gradient cancelling, influence on fairness. The derivative is a field
of the learner, as the solver is: `learner.using(solver, derivative)`. `record`, `reseed`, `state`
and `key` are arguments of `Recipe.climb`. Label flips insert nothing and climb nothing: they take
`goal`, the first m flips are the attack of budget m, and `LabelFlips.values` is their record.
Planted rows (flips of groups, anchors) are copies that climb nothing either.
"""

from ._planted import Planted
from ._recipe import Recipe
from .anchoring import anchor_popular, anchor_random
from .classifier_poisoning import poison_classifier
from .collision import collide_features
from .fairness_influence import influence_fairness
from .fairness_poisoning import poison_fairness
from .feature_selection import (
    kuncheva_index,
    lustgarten_index,
    poison_feature_selection,
    selected,
)
from .gradient_cancelling import cancel_gradients, corrupted
from .gradient_descent_ascent import Joint, descend_ascend
from .group_flips import flip_groups
from .label_flips import LabelFlips, flip_by_hypergradient, flip_greedy, flip_random
from .model_targeting import Approach, approach_model
from .network_poisoning import Greedy, one_by_one, poison_network
from .pruning_aware import Hidden, hide_from_pruning
from .regression_poisoning import b_flip, inv_flip, poison_regression, stat_p
from .svm_poisoning import poison_svm
