"""Many trainings of one learner as one program."""

from jaxtyping import Array, Key

from .._batch import batch
from .._data import Data
from .._program import program
from ._learner import AbstractLearner
from ._training import Fitted


def ensemble(
    learner: AbstractLearner, data: Data, keys: Key[Array, " k"], size: int | None = None
) -> Fitted:
    """Train on `data` once for each key: other initial weights and mini-batches.

    Every array of the outcome has a leading axis of k members; `result` (k,) has a code for each.
    A member is the model that `learner.fit(data, key=key)` returns, up to rounding.

    - `keys`: (k,) typed keys, `jax.random.split(key, k)`.
    - `size`: number of members that train at once. By default all on accelerators, one on a CPU
      (see `bilevel.batch`); small dense networks gain from 4 to 16 there.

    `bilevel.tools.unstacked(fitted.model)` is the list of the members' models.

    Raises `ValueError` for data that the learner rejects. It never raises on a failed training.
    """
    learner.check(data)
    return _ensemble(learner, data, keys, size)


@program
def _ensemble(
    learner: AbstractLearner, data: Data, keys: Key[Array, " k"], size: int | None
) -> Fitted:
    def fit(key):
        return learner.fit(data, key=key, throw=False)

    return batch(fit, size)(keys)
