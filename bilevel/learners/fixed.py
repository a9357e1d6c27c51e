"""A model that is trained already, for attacks on the rows that it predicts."""

from collections.abc import Callable

from jaxtyping import Array

from .. import losses
from .._solver import AbstractSolver
from ..derivatives import AbstractDerivative, Implicit
from ..solvers import Newton
from ._learner import AbstractLearner
from ._model import AbstractModel
from ._training import Training


class Fixed(AbstractLearner):
    """Ignores the data and returns `model`. With a capability that changes only the rows to
    predict, the attack is evasion (Biggio et al. 2013, Madry et al. 2018).

    - `model`: the trained model.
    - `loss(y, f)`: the loss it was trained with, for defenses and goals that use it.
    - `solver`, `derivative`: not used.
    """

    model: AbstractModel
    loss: Callable[[Array, Array], Array] = losses.Logistic()
    solver: AbstractSolver = Newton()  # never called: there is nothing to solve
    derivative: AbstractDerivative = Implicit()

    def training(self, data, *, key=None):
        del key
        return Training(data, None, self._model)

    def _model(self, value: None) -> AbstractModel:
        del value
        return self.model
