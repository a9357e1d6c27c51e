"""SABA: SOBA with variance reduction by tables of past gradients."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int, PyTree

from .._tree import tree_add
from ._method import (
    AbstractMethod,
    Triple,
    block,
    inner_products,
    outer_gradients,
    pick,
    rows_of,
)


class Table(NamedTuple):
    """The last value of some quantities on each part of the data (parts, ...), and their mean."""

    entries: PyTree
    mean: PyTree


class SABA(AbstractMethod):
    """Stochastic average bilevel algorithm: Dagréou, Ablin, Vaiter & Moreau, "A framework for
    bilevel optimization that enables stochastic and global variance reduction algorithms",
    NeurIPS 2022.

    The rows of each level are divided into fixed parts of the batch size. A table has the last
    value of each product of SOBA on every part. A direction is the new value minus the old one plus
    the mean of the table (SAGA). The noise vanishes with the distance to the solution, so that runs
    with constant step sizes converge. Step sizes are those of SAGA: 1 / (3 L) for the inner
    variable.

    The memory is (2 |w| + |z|) numbers per part of the inner rows and |w| + |z| per part of the
    outer rows. The first step needs a pass over the data. Raises `ValueError` if a batch size does
    not divide the rows.
    """

    def init(self, problem, z, w):
        v = jax.tree.map(jnp.zeros_like, w)
        for level in ("inner", "outer"):
            _require_parts(problem, level)

        def inner(index):
            rows = block(problem.inner_data, problem.inner_batch, index)
            return inner_products(problem.inner, z, w, v, rows)

        def outer(index):
            rows = block(problem.outer_data, problem.outer_batch, index)
            return outer_gradients(problem.outer, z, w, rows)

        inner_parts = _parts(problem.inner_data, problem.inner_batch)
        outer_parts = _parts(problem.outer_data, problem.outer_batch)
        return v, (_fill(inner, inner_parts), _fill(outer, outer_parts))

    def directions(self, problem, at, memory, rates, key):
        w, v, z = at
        inner_table, outer_table = memory
        inner_key, outer_key = jax.random.split(key)
        i = _draw(problem.inner_data, problem.inner_batch, inner_key)
        j = _draw(problem.outer_data, problem.outer_batch, outer_key)
        rows = block(problem.inner_data, problem.inner_batch, i)
        outer_rows = block(problem.outer_data, problem.outer_batch, j)
        fresh = inner_products(problem.inner, z, w, v, rows)
        (in_w, curved, cross), inner_table = _replace(inner_table, i, fresh)
        fresh = outer_gradients(problem.outer, z, w, outer_rows)
        (outer_z, outer_w), outer_table = _replace(outer_table, j, fresh)
        directions = Triple(in_w, tree_add(curved, outer_w), tree_add(outer_z, cross))
        return directions, (inner_table, outer_table)


def _parts(data: PyTree, batch: int | None) -> int:
    return 1 if batch is None else rows_of(data) // batch


def _draw(data: PyTree, batch: int | None, key) -> Int[Array, ""]:
    return pick(key, (), _parts(data, batch))


def _fill(quantities, parts: int) -> Table:
    entries = lax.map(quantities, jnp.arange(parts))
    return Table(entries, jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), entries))


def _replace(table: Table, index: Int[Array, ""], fresh: PyTree) -> tuple[PyTree, Table]:
    """(Unbiased estimate of the mean of the new values, the table with `fresh` at `index`)."""
    parts = jax.tree.leaves(table.entries)[0].shape[0]
    news = jax.tree.map(lambda new, rows: new - rows[index], fresh, table.entries)
    entries = jax.tree.map(lambda rows, new: rows.at[index].set(new), table.entries, fresh)
    mean = jax.tree.map(lambda old, change: old + change / parts, table.mean, news)
    return tree_add(news, table.mean), Table(entries, mean)


def _require_parts(problem, level: str) -> None:
    batch, rows = getattr(problem, f"{level}_batch"), rows_of(getattr(problem, f"{level}_data"))
    if batch is not None and rows % batch:
        below = max(b for b in range(1, batch) if rows % b == 0)
        above = min(b for b in range(batch, rows + 1) if rows % b == 0)
        raise ValueError(
            f"{level}_batch: got {batch}, which does not divide the {rows} rows of {level}_data; "
            f"SABA keeps a table of equal parts: take {below} or {above}, or leave rows out"
        )
