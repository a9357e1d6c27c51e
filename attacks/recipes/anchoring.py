"""Anchoring attacks on fairness (Mehrabi et al., AAAI 2021), random and not.

Two target rows are chosen: one of the favoured group with the label -1, and one of the other group
with the label +1. Poison lies close to a target, in its group, with the other label, and so skews
the decision boundary around it. The attacker knows training rows with their groups, and trains
nothing. Defenses: filters of duplicates (`defenses.Duplicates`) and label sanitisation.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from bilevel import Data

from ..domains import AbstractDomain
from ._planted import Kinds, Planted


def anchor_random(
    key: PRNGKeyArray,
    train: Data,
    group,
    count: int,
    *,
    against: int = 0,
    favoured: int = 1,
    radius: float = 0.0,
    domain: AbstractDomain | None = None,
) -> Planted:
    """Anchors at random targets.

    - `key`: typed key of the targets, and of the places of the poison.
    - `train`: the training rows, with labels -1 and +1, the favourable outcome.
    - `group` (n,): 0 ... k - 1. `against`, `favoured`: two of them.
    - `count`: number of poison rows. The share labelled +1 is that of -1 in `train`, by weight, as
      in the authors' code.
    - `radius`: largest change of a feature, >= 0; the authors take 0, copies of the targets.
    - `domain`: of the rows, for a radius above 0.

    Raises `ValueError` for values out of range, and if there is no row to choose as a target.
    """

    def choose(key: PRNGKeyArray, rows: np.ndarray) -> Array:
        return jax.random.choice(key, jnp.asarray(rows), (1,))

    return _anchored(key, train, Kinds(train, group, against, favoured), count, choose, radius,
                     domain)  # fmt: skip


def anchor_popular(
    key: PRNGKeyArray,
    train: Data,
    group,
    count: int,
    *,
    neighbourhood: float,
    against: int = 0,
    favoured: int = 1,
    radius: float = 0.0,
    domain: AbstractDomain | None = None,
) -> Planted:
    """Anchors at the most popular targets: those with the most rows of their group and label near.

    - `key`: of the places of the poison; the targets are not random.
    - `neighbourhood`: rows are near if no feature differs by more, > 0.

    The other arguments and errors are those of `anchor_random`.
    """
    if not neighbourhood > 0:
        raise ValueError(f"neighbourhood: got {neighbourhood}, expected a distance > 0")
    x, weight = np.asarray(train.x).reshape(train.rows, -1), np.asarray(train.weight)

    def choose(key: PRNGKeyArray, rows: np.ndarray) -> Array:
        del key
        near = np.array([np.all(np.abs(x[rows] - x[i]) <= neighbourhood, axis=1) for i in rows])
        return jnp.asarray(rows[np.argmax(near @ weight[rows])])[None]

    return _anchored(key, train, Kinds(train, group, against, favoured), count, choose, radius,
                     domain)  # fmt: skip


def _anchored(
    key: PRNGKeyArray,
    train: Data,
    kinds: Kinds,
    count: int,
    choose: Callable[[PRNGKeyArray, np.ndarray], Array],
    radius: float,
    domain: AbstractDomain | None,
) -> Planted:
    if not radius >= 0:
        raise ValueError(f"radius: got {radius}, expected a distance >= 0")
    if radius > 0 and domain is None:
        raise ValueError("domain: got none, expected the domain of the rows for a radius above 0")
    one, two, three = jax.random.split(key, 3)
    share = float(np.average(np.asarray(train.y) < 0, weights=np.asarray(train.weight)))
    planted = kinds.planted(count, share, choose(one, kinds.accepted), choose(two, kinds.refused))
    if domain is None:
        return planted
    shape, dtype = planted.x.shape, planted.x.dtype
    away = radius * jax.random.uniform(three, shape, dtype, -1.0, 1.0)
    return eqx.tree_at(lambda p: p.x, planted, domain.place(domain.project(planted.x + away)))
