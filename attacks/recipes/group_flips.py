"""Flipped labels of one group in each direction: the simplest attack on fairness.

The attacker knows rows of the training distribution with their groups, and trains nothing. The
attacker inserts copies with the other label. Defenses: label sanitisation, `defenses.Relabel`;
where the group is a feature or follows from features, copies may look like an honest pattern.
"""

import jax
from jaxtyping import PRNGKeyArray

from bilevel import Data

from ._planted import Kinds, Planted, shuffled


def flip_groups(
    key: PRNGKeyArray,
    train: Data,
    group,
    count: int,
    *,
    against: int = 0,
    favoured: int = 1,
    share: float = 0.5,
) -> Planted:
    """Random rows of group `against` labelled -1 in place of +1, and of group `favoured` labelled
    +1 in place of -1: the start of optimised attacks, and their control.

    - `key`: typed key of the draw.
    - `train`: rows to copy, with labels -1 and +1, the favourable outcome.
    - `group` (n,): 0 ... k - 1.
    - `count`: number m of rows; rows repeat where there are fewer.
    - `against`, `favoured`: groups. Exchange them to hide a disparity.
    - `share`: of rows labelled +1, in [0, 1].

    Raises `ValueError` for values out of range, and if there is no row to copy.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share: got {share}, expected a share of rows in [0, 1]")
    kinds = Kinds(train, group, against, favoured)
    one, two = jax.random.split(key)
    return kinds.planted(count, share, shuffled(one, kinds.accepted), shuffled(two, kinds.refused))
