"""Networks that are poisoned, and their errors on test rows."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, PRNGKeyArray

from bilevel import Data, append
from bilevel.learners import Network, ensemble
from bilevel.tools import unstacked


class Rows(NamedTuple):
    """Rows of one role: features or pixels, and labels."""

    x: np.ndarray
    y: np.ndarray

    def data(self) -> Data:
        return Data(self.x, self.y)


def dealt(rows: Rows, sizes: Sequence[int], split: int) -> list[Rows]:
    """Random rows of each size, and the rest."""
    order = np.random.default_rng(split).permutation(len(rows.y))
    return [Rows(rows.x[part], rows.y[part]) for part in np.split(order, np.cumsum(sizes))]


def errors(learner: Network, data: Data, keys: PRNGKeyArray, test: Rows) -> np.ndarray:
    """Test errors (k,) of the network trained with each of the keys (k,)."""
    models = unstacked(ensemble(learner, data, keys).model)
    return np.array([np.mean(np.asarray(model.predict(test.x)) != test.y) for model in models])


def with_rows(train: Data, x: ArrayLike, y: ArrayLike, share: ArrayLike) -> Data:
    """The clean rows, and the poison with weights `share`."""
    return append(train, jnp.asarray(x), jnp.asarray(y), jnp.asarray(share, train.weight.dtype))


class Judged(NamedTuple):
    """Mean test errors of the retrained network.

    - `same`: with the initial weights and batches that the attacker used.
    - `fresh`: with others. `other`: of another architecture.
    """

    same: float
    fresh: float
    other: float


def judged(
    victim: Network, other: Network, data: Data, known: PRNGKeyArray, fresh: PRNGKeyArray,
    test: Rows,
) -> Judged:  # fmt: skip
    """Retrain on `data` with the attacker's keys and with fresh ones."""
    return Judged(
        same=float(np.mean(errors(victim, data, known, test))),
        fresh=float(np.mean(errors(victim, data, fresh, test))),
        other=float(np.mean(errors(other, data, fresh, test))),
    )
