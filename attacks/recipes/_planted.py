"""Rows that are copies of training rows of some group, with the other label."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from bilevel import Data
from bilevel.tools import program, require_count

from ..fairness._groups import groups_of


class Planted(eqx.Module):
    """Poison rows that need no training to make. The first m are the attack of m rows.

    - `x` (m, ...), `y` (m,), `group` (m,): features, labels, groups.
    - `rows` (m,): indices of the training rows that they are copies of.
    """

    x: Float[Array, "m ..."]
    y: Shaped[Array, " m"]
    group: Int[Array, " m"]
    rows: Int[Array, " m"]


class Kinds:
    """The training rows of the two kinds that attacks on fairness copy: those of group `against`
    with the label +1, and those of group `favoured` with the label -1; none of weight zero.

    ValueError for labels other than -1 and +1, groups that make no sense, and a kind without rows.
    """

    def __init__(self, train: Data, group, against: int, favoured: int):
        self.train, self.group = train, groups_of(group, train.rows)
        y, used = np.asarray(train.y), np.asarray(train.weight) > 0
        if not np.all(np.abs(y) == 1):
            raise ValueError(f"y: got labels {np.unique(y)[:5]}, expected only -1 and +1")
        if against == favoured:
            raise ValueError(f"against, favoured: got {against} for both, expected two groups")
        self.accepted = np.flatnonzero(used & (self.group == against) & (y > 0))
        self.refused = np.flatnonzero(used & (self.group == favoured) & (y < 0))
        for g, label, rows in ((against, "+1", self.accepted), (favoured, "-1", self.refused)):
            if not rows.size:
                raise ValueError(
                    f"group: group {g} has no training row with the label {label}, expected some "
                    "to copy"
                )

    def planted(self, count: int, share: float, accepted: Array, refused: Array) -> Planted:
        """`count` copies with the other label: of the rows `refused` to the given share, of
        `accepted` otherwise, evenly mixed, each list repeated from its start where it ends.
        """
        count = require_count("count", count)
        raised = np.floor(np.arange(1, count + 1) * share) > np.floor(np.arange(count) * share)
        number = np.where(raised, np.cumsum(raised), np.cumsum(~raised)) - 1
        lists = np.asarray(accepted), np.asarray(refused)
        chosen = [
            lists[int(r)][i % lists[int(r)].size] for r, i in zip(raised, number, strict=True)
        ]
        rows = jnp.asarray(np.array(chosen))
        return _copied(self.train, jnp.asarray(self.group), rows)


@program
def _copied(train: Data, group: Array, rows: Array) -> Planted:
    return Planted(train.x[rows], -train.y[rows], group[rows], rows)


def shuffled(key: PRNGKeyArray, rows: np.ndarray) -> Array:
    """The rows in random order."""
    return jax.random.permutation(key, jnp.asarray(rows))
