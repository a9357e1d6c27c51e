"""Rows dealt into parts by their content, for ensembles that train a member on each."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from bilevel import Data
from bilevel.learners import AbstractLearner
from bilevel.tools import concrete

from .._hash import row_hash


def room(rows: int, parts: int) -> int:
    """How many rows a part can hold: of so many drawn at random, more than any gets, but for one
    data set in a thousand.
    """
    mean = rows / parts
    return min(rows, math.ceil(mean + 4 * math.sqrt(mean) + 4))


def part_of(x: Any, parts: int, seed: int = 0) -> Any:
    """The part of each row (n,), by nothing but its features (n, ...): an added row moves no other,
    and another label leaves a row where it is. NumPy's and JAX's arrays alike.
    """
    hashes = row_hash(x, seed=seed)
    xp = hashes.__array_namespace__()
    return xp.astype(hashes % xp.uint32(parts), xp.int32)


def settle(
    data: Data, known: Int[Array, " k"] | None, parts: int, seed: int = 0
) -> Int[Array, " n"]:
    """The parts of rows for an attacker's surrogate: of known rows as given, then by turns.

    A row that moves would be in another part at every step. But who knows the hash can put his row
    in any part, by digits too small to matter.
    """
    if known is None:
        return part_of(data.x, parts, seed)
    added = jnp.arange(data.rows - known.size, dtype=known.dtype)
    return jnp.concatenate([known, added % parts])


@eqx.filter_jit
def deal(data: Data, place: Int[Array, " n"], parts: int, seed: int = 0) -> Data:
    """The rows of each part, a stack (parts, room, ...) padded with rows of weight zero.

    In the order of their content, whatever their order in the data. A part that is full takes no
    more: equal rows, and an attacker who sends all of his to one part, are cut off there.
    """
    place = jnp.where(data.weight > 0, place, parts)  # rows of weight zero are in none
    order = jnp.lexsort((row_hash(data.x, data.y, seed), place))
    ends = jnp.cumsum(jnp.bincount(place, length=parts))
    slot = jnp.arange(room(data.rows, parts))
    index = jnp.concatenate([jnp.zeros(1, ends.dtype), ends[:-1]])[:, None] + slot[None, :]
    inside = index < ends[:, None]
    rows = order[jnp.minimum(index, data.rows - 1)]
    dealt = jax.tree.map(lambda leaf: leaf[rows], data)
    return eqx.tree_at(lambda d: d.weight, dealt, jnp.where(inside, dealt.weight, 0))


def split(key: PRNGKeyArray | None, parts: int) -> Array | None:
    """A key for each part."""
    return None if key is None else jax.random.split(key, parts)


def check_parts(learner: AbstractLearner, members: Data, name: str) -> None:
    """ValueError unless the learner can train on each of a (concrete) stack."""
    if not concrete(members.weight):
        return
    parts = members.weight.shape[0]
    x, y, weight = (np.asarray(leaf) for leaf in (members.x, members.y, members.weight))
    for part in range(parts):
        rows = weight[part] > 0
        try:
            learner.check(Data(x[part, rows], y[part, rows], weight[part, rows]))
        except ValueError as error:
            used = int(np.sum(weight > 0))
            raise ValueError(
                f"{name}: got {parts} for {used} rows, but on the {int(rows.sum())} of number "
                f"{part} no model can be trained ({error}); ask for fewer, or try another seed"
            ) from None
