"""The sets of other rows that each row is tried with, drawn by the rows' content.

They take NumPy's and JAX's arrays; the estimators draw by them as well.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Int, UInt

from .._hash import mix


@eqx.filter_jit
def others(
    hashes: Any,
    used: Any,
    groups: Any,
    train: int,
    validation: int,
) -> Int[Array, "n m"]:
    """The rows that each row is tried with: `train`, and behind them `validation`.

    - `hashes` (n,): the order of the rows. `used` (n,): a mask of those that may be drawn.
    - `groups` (k, n): masks of the classes.

    Those behind it when all rows used are put in the order of their hashes, a ring. Of each class
    there is a row to train on: the next one, in exchange for the last row that is not the first of
    its own class.
    """
    rows = used.shape[0]
    order = jnp.lexsort((hashes, ~used))  # rows by place; those of weight 0 are not drawn
    many, place = jnp.sum(used), jnp.arange(rows)
    steps = jnp.broadcast_to(
        jnp.arange(1, train + validation + 1)[None, :], (rows, train + validation)
    )
    columns = jnp.arange(train + validation)[None, :]
    nexts = [next_place(group[order], many)[:, None] for group in groups]
    movable = columns < train
    for next_ in nexts:
        movable = movable & (steps != next_)
    for next_ in nexts:
        # If the first of this class comes behind the training set, it and the last row there
        # change places: no row is drawn twice.
        behind = (next_ > train) & (next_ < many)
        last = jnp.max(jnp.where(movable, columns, -1), axis=1, keepdims=True)
        behind = behind & (last >= 0)
        leaving = jnp.take_along_axis(steps, jnp.maximum(last, 0), axis=1)
        steps = jnp.where(behind & (steps == next_), leaving, steps)
        steps = jnp.where(behind & (columns == last), next_, steps)
        movable = movable & ~(behind & (columns == last))
    return order[(place[:, None] + steps) % many][jnp.argsort(order)]


def next_place(wanted: Bool[Array, " n"], many: Int[Array, ""]) -> Int[Array, " n"]:
    """How many places behind each of the first `many` the next wanted one is, in a ring of them;
    2n or more if there is none.
    """
    n = wanted.shape[0]
    place = jnp.arange(2 * n + 1)
    nearest = lax.cummin(jnp.where(wanted[place % many], place, 4 * n), reverse=True)
    return nearest[1 : n + 1] - place[:n]


def groups_of(hashes: Any) -> Any:
    """A number for each row, the same for rows of equal hashes: how many hashes are smaller."""
    xp = hashes.__array_namespace__()
    return xp.searchsorted(xp.sort(hashes), hashes)


def sum_by_group(values: Any, groups: Any) -> Any:
    """Sum of the values (n,) of each group, by its number below n."""
    rows = values.shape[0]
    if isinstance(values, Array):
        return jax.ops.segment_sum(values, groups, rows)
    return np.bincount(groups, values, rows)


@jax.jit
def told_apart(hashes: Any, used: Any) -> UInt[Array, " n"]:
    """Hashes that differ for equal rows too: otherwise those would lie next to each other, and be
    tried with each other. Which of those `used`, a mask (n,), gets which does not matter; others
    come behind them.
    """
    place = jnp.argsort(jnp.lexsort((~used, hashes)), stable=True)
    number = place.astype(jnp.uint32) - groups_of(hashes).astype(jnp.uint32)
    return mix(hashes + mix(number))
