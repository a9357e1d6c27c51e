"""Fine-tuning: a network goes on training on clean rows alone."""

from bilevel import Data
from bilevel.learners import AbstractLearner, Trained

from ._network import AbstractCleanRepair, as_network
from .tuning import Tuning


class FineTune(AbstractCleanRepair):
    """Goes on training the network on clean rows (Liu, Dolan-Gavitt & Garg 2018, their baseline).

    It moves what clean rows use; units that answer to a trigger alone have no gradient there and
    stay, unless the weights decay.

    - `clean`: rows that the defender knows to be clean.
    - `tuning`: how it trains on them.
    """

    learner: AbstractLearner
    clean: Data
    tuning: Tuning = Tuning()

    def repair(self, model, data, *, key=None):
        del data
        net = as_network(model)
        tuned, result = self.tuning.run(
            net.architecture, net.parameters, self.clean, self.learner.loss, key
        )
        return Trained(tuned, result)
