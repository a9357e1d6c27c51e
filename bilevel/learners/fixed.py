"""A model that is trained already: attacks on what it is shown."""

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
    """Ignores the data and returns `model`: with a capability that only presents rows, the attack
    is evasion (Biggio et al. 2013, Madry et al. 2018).

    - `loss(y, f)`: the loss that the model was trained with, for defenses and goals that ask.
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
