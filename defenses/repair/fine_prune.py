"""Fine-pruning: prune what clean rows do not use, then fine-tune what is left."""

from bilevel import Data
from bilevel.learners import AbstractLearner, Trained
from bilevel.networks import Channels

from ._network import AbstractCleanRepair
from .fine_tune import FineTune
from .prune import Prune
from .tuning import Tuning


class FinePrune(AbstractCleanRepair):
    """`Prune`, then `FineTune`: pruned channels stay pruned (Liu, Dolan-Gavitt & Garg,
    "Fine-pruning: defending against backdooring attacks on deep neural networks", RAID 2018).

    It assumes that a backdoor sits in channels that are dormant on clean rows.
    `attacks.hide_from_pruning` makes one that does not.

    - `clean`, `layer`, `channels`, `drop`: see `Prune`. `tuning`: see `FineTune`.

    `fit(...).report` is a `Pruned`. Raises `ValueError` as `Prune` does.
    """

    learner: AbstractLearner
    clean: Data
    layer: str | Channels | None = None
    channels: int | None = None
    drop: float = 0.04
    tuning: Tuning = Tuning()

    def __check_init__(self):
        self._prune()

    def _prune(self) -> Prune:
        return Prune(self.learner, self.clean, self.layer, self.channels, self.drop)

    def repair(self, model, data, *, key=None):
        pruned = self._prune().repair(model, data)
        tune = FineTune(self.learner, self.clean, self.tuning)
        tuned = tune.repair(pruned.model, data, key=key)
        return Trained(tuned.model, tuned.result, pruned.report)
