"""The interface of stochastic methods, and functions that they share."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from .._tree import tree_add
from ._problem import Mean, StochasticBilevel


class Triple(NamedTuple):
    """One entry for each variable: its value, its direction, or its step size.

    - `inner`: w, which approximates the minimiser of G.
    - `adjoint`: v, which approximates the solution of (d2G/dw2) v = -dF/dw. A method that stores
      another quantity here documents it.
    - `outer`: z.
    """

    inner: Any
    adjoint: Any
    outer: Any


class AbstractMethod(eqx.Module):
    """Directions of the three variables, from mini-batches. The loop subtracts each direction
    times its step size.
    """

    @abc.abstractmethod
    def init(self, problem: StochasticBilevel, z: PyTree, w: PyTree) -> tuple[PyTree, PyTree]:
        """(The first adjoint, the method's memory)."""

    @abc.abstractmethod
    def directions(
        self,
        problem: StochasticBilevel,
        at: Triple,
        memory: PyTree,
        rates: Triple,
        key: PRNGKeyArray,
    ) -> tuple[Triple, PyTree]:
        """(The directions at `at`, the memory for the next call).

        `rates` are the step sizes of this call, for methods with an inner loop. `key` is new in
        every call.
        """


def rows_of(data: PyTree) -> int:
    """The number of rows of data."""
    return jax.tree.leaves(data)[0].shape[0]


def draw(data: PyTree, batch: int | None, key: PRNGKeyArray) -> PyTree:
    """`batch` rows, drawn uniformly with replacement; all rows in order if there are `batch`."""
    rows = rows_of(data)
    if batch is None or batch == rows:
        return data
    chosen = pick(key, (batch,), rows)
    return jax.tree.map(lambda leaf: leaf.at[chosen].get(mode="promise_in_bounds"), data)


def pick(key: PRNGKeyArray, shape: tuple[int, ...], count: int) -> Int[Array, "..."]:
    """Integers in [0, count), uniform up to count / 2^32. Half the cost of `randint`."""
    return (jax.random.bits(key, shape, jnp.uint32) % jnp.uint32(count)).astype(jnp.int32)


def block(data: PyTree, batch: int | None, index: Int[Array, ""]) -> PyTree:
    """Part `index` of a fixed partition into parts of `batch` rows. A part has every
    (rows / batch)-th row, so that parts of data sorted by class are alike.
    """
    rows = rows_of(data)
    size = rows if batch is None else batch

    def part(leaf):
        shelves = leaf.reshape(size, rows // size, *leaf.shape[1:])
        return lax.dynamic_index_in_dim(shelves, index, axis=1, keepdims=False)

    return jax.tree.map(part, data)


def inner_products(
    inner: Mean, z: PyTree, w: PyTree, v: PyTree, rows: PyTree
) -> tuple[PyTree, PyTree, PyTree]:
    """dG/dw, (d2G/dw2) v and (d2G/dz dw) v on these rows, from one linearisation."""
    gradient = jax.grad(inner, argnums=(0, 1))
    (_, in_w), (cross, curved) = jax.jvp(lambda w: gradient(z, w, rows), (w,), (v,))
    return in_w, curved, cross


def curvature(inner: Mean, z: PyTree, w: PyTree, v: PyTree, rows: PyTree) -> PyTree:
    """(d2G/dw2) v on these rows."""
    return jax.jvp(lambda w: jax.grad(inner, argnums=1)(z, w, rows), (w,), (v,))[1]


def outer_gradients(outer: Mean, z: PyTree, w: PyTree, rows: PyTree) -> tuple[PyTree, PyTree]:
    """dF/dz and dF/dw on these rows."""
    return jax.grad(outer, argnums=(0, 1))(z, w, rows)


def step_back(a: PyTree, rate: Float[Array, ""], direction: PyTree) -> PyTree:
    """Return a - rate * direction, in the dtypes of a."""
    return jax.tree.map(lambda x, d: x - rate.astype(x.dtype) * d, a, direction)


def walk(
    direction: Callable[[PyTree, PRNGKeyArray], PyTree],
    start: PyTree,
    rate: Float[Array, ""],
    count: int,
    key: PRNGKeyArray,
) -> tuple[PyTree, PyTree]:
    """`count` stochastic gradient steps. Returns (sum of their directions, last iterate), with
    last iterate = start - rate * sum.
    """

    def body(index, carry):
        total, here = carry
        step = direction(here, jax.random.fold_in(key, index))
        return tree_add(total, step), step_back(here, rate, step)

    return lax.fori_loop(0, count, body, (jax.tree.map(jnp.zeros_like, start), start))


def require_count(name: str, count: int) -> None:
    """ValueError unless `count` is at least 1. `name` begins the message."""
    if count < 1:
        raise ValueError(f"{name}: got {count}, expected at least 1")
