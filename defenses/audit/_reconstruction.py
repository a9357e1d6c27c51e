"""The search for triggers: a mask and a pattern for every label of a model."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray, PyTree

from attacks import Box
from attacks.triggers import Patch
from bilevel import Data, batch
from bilevel.learners import AbstractModel
from bilevel.losses import CrossEntropy
from bilevel.tools import require_count

from ._checks import classes_of, require_range


class TriggerSearch(eqx.Module):
    """How a trigger is searched for: Adam on min CE(f((1 - m) x + m d), label) + lam penalty(m, d),
    where lam rises while the label is reached and falls while it is not (Wang et al. 2019).

    - `rounds`, `steps`: rounds of so many steps each. After a round its success, the mean share of
      rows that became the label, decides about lam, and whether m is kept as the smallest so far.
    - `rows`: clean rows of a step, in turn, in a random order; their weights do not count.
    - `rate`: of Adam, with betas .5 and .9.
    - `strength`: lam at the start. `patience`: rounds in a row after which it is multiplied by 1.5,
      or divided by 1.5^1.5.
    - `success`: the share from which a label counts as reached.

    Raises `ValueError` for a value out of range.
    """

    rounds: int = 30
    steps: int = 10
    rows: int = 32
    rate: float = 0.1
    strength: float = 1e-3
    patience: int = 2
    success: float = 0.99

    def __check_init__(self):
        for name in ("rounds", "steps", "rows", "patience"):
            require_count(name, getattr(self, name))
        for name in ("rate", "strength"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ValueError(f"{name}: got {value}, expected a finite number > 0")
        if not 0 < self.success <= 1:
            raise ValueError(f"success: got {self.success}, expected a share > 0, at most 1")


class RestoredTriggers(eqx.Module):
    """The smallest triggers that were found, one for each of k labels.

    - `labels` (k,): the labels.
    - `mask` (k, h, w, 1) for images, (k, d) for tables: shares of the pattern.
    - `pattern` (k, *row), in the range of the rows, `domain`.
    - `size` (k,): sum of the mask, in pixels; all of them for a label that was never reached.
    - `success` (k,): share of the clean rows that the model reads as the label, with its trigger.
    """

    labels: Int[Array, " k"]
    mask: Float[Array, "k ..."]
    pattern: Float[Array, "k ..."]
    size: Float[Array, " k"]
    success: Float[Array, " k"]
    domain: Box

    def trigger(self, label: int) -> Patch:
        """The trigger of a label, to be stamped: on clean rows that keep their labels, a model
        that is trained on unlearns it. ValueError for a label that was not searched.
        """
        at = np.flatnonzero(np.asarray(self.labels) == label)
        if not at.size:
            raise ValueError(f"label: got {label}, expected one of {self.labels.tolist()}")
        return Patch(self.mask[at[0]], self.pattern[at[0]], self.domain)


class Found(NamedTuple):
    """What a search for one label has so far."""

    mask: Float[Array, "..."]
    pattern: Float[Array, "..."]
    size: Float[Array, ""]


Penalty = Callable[
    [AbstractModel, Float[Array, "..."], Float[Array, "..."], Data, Int[Array, ""]],
    Float[Array, ""],
]
"""Of the model, a mask, a pattern in units of the range, clean rows and the label."""


def stamped(mask: Array, pattern: Array, x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
    """(1 - mask) x + mask pattern."""
    return (1 - mask)[None] * x + (mask * pattern)[None]


def scaled(domain: Box, unit: Float[Array, "..."]) -> Float[Array, "..."]:
    """Values in [0, 1] in the range of the rows."""
    low, high = (bound.astype(unit.dtype) for bound in (domain.lower, domain.upper))
    return jnp.broadcast_to(low, unit.shape) + unit * jnp.broadcast_to(high - low, unit.shape)


def restored(
    search: TriggerSearch,
    penalty: Penalty,
    domain: Box,
    model: AbstractModel,
    clean: Data,
    labels: ArrayLike | Sequence[int] | None,
    key: PRNGKeyArray | None,
) -> RestoredTriggers:
    """The smallest trigger of each of the labels, by default of all classes. ValueError for a model
    or rows that it cannot search with.
    """
    if key is None:
        raise ValueError("key: got None, expected a key for the masks that the search starts from")
    classes = classes_of(model, clean, least=3)
    require_range(clean.x, domain)
    if clean.rows < search.rows:
        raise ValueError(
            f"clean: got {clean.rows} rows, expected {search.rows} or more; lower `rows` of the "
            "search to take fewer in a step"
        )
    wanted = np.arange(classes) if labels is None else np.atleast_1d(np.asarray(labels))
    wrong = wanted[~np.isin(wanted, np.arange(classes))]
    if wrong.size:
        raise ValueError(f"labels: got {wrong[0]}, expected class numbers 0 to {classes - 1}")

    def of_label(label: Int[Array, ""], key: PRNGKeyArray) -> tuple[Found, Float[Array, ""]]:
        found = _searched(search, penalty, domain, model, clean, label, key)
        shown = stamped(found.mask, found.pattern, clean.x)
        return found, jnp.mean(model.predict(shown) == label, dtype=found.size.dtype)

    keys = jax.vmap(lambda label: jax.random.fold_in(key, label))(jnp.asarray(wanted))
    searched = jnp.asarray(wanted, jnp.int32)
    found, success = batch(of_label)(searched, keys)
    mask, pattern, size = found
    return RestoredTriggers(searched, mask, pattern, size, success, domain)


class _State(NamedTuple):
    inside: PyTree
    moments: Any
    strength: Float[Array, ""]
    row: Int[Array, ""]
    best: Found


def _searched(
    search: TriggerSearch,
    penalty: Penalty,
    domain: Box,
    model: AbstractModel,
    clean: Data,
    label: Int[Array, ""],
    key: PRNGKeyArray,
) -> Found:
    """The smallest trigger of one label."""
    of_mask, of_pattern, of_rows = jax.random.split(key, 3)
    parts = clean.rows // search.rows
    order = jax.random.permutation(of_rows, clean.rows)[: parts * search.rows]
    batches = jax.tree.map(lambda a: a[order].reshape(parts, search.rows, *a.shape[1:]), clean)
    dtype, shape = clean.x.dtype, clean.x.shape[1:]
    adam = optax.adam(search.rate, b1=0.5, b2=0.9)

    def loss(inside, rows, strength):
        mask, unit = (0.5 + 0.5 * jnp.tanh(part) for part in inside)
        f = model.decision(stamped(mask, scaled(domain, unit), rows.x))
        wanted = jnp.full(search.rows, label)
        price = penalty(model, mask, unit, rows, label)
        reached = jnp.mean(jnp.argmax(f, axis=1).astype(label.dtype) == label, dtype=dtype)
        return jnp.mean(CrossEntropy()(wanted, f)).astype(dtype) + strength * price, reached

    def step(state, number):
        inside, moments, strength = state
        rows = jax.tree.map(lambda a: a[number % parts], batches)
        slope, reached = jax.grad(loss, has_aux=True)(inside, rows, strength)
        with jax.numpy_dtype_promotion("standard"):  # optax needs it, whatever the caller set
            move, moments = adam.update(slope, moments)
            inside = optax.apply_updates(inside, move)
        return (inside, moments, strength), reached

    def round_(number, state):
        start = state.inside, state.moments, state.strength
        numbers = number * search.steps + jnp.arange(search.steps, dtype=jnp.int32)
        (inside, moments, strength), reached = jax.lax.scan(step, start, numbers)
        held = jnp.mean(reached) >= search.success
        mask, unit = (0.5 + 0.5 * jnp.tanh(part) for part in inside)
        now = Found(mask, scaled(domain, unit), jnp.sum(mask))
        better = held & (now.size < state.best.size)
        best = jax.tree.map(lambda a, b: jnp.where(better, a, b), now, state.best)
        row = jnp.where(held, jnp.maximum(state.row, 0) + 1, jnp.minimum(state.row, 0) - 1)
        up, down = row >= search.patience, row <= -search.patience
        factor = jnp.where(up, 1.5, jnp.where(down, 1.5**-1.5, 1.0)).astype(dtype)
        return _State(inside, moments, strength * factor, jnp.where(up | down, 0, row), best)

    flat = (*shape[:-1], 1) if len(shape) == 3 else shape
    inside = tuple(
        jnp.arctanh(jax.random.uniform(key, size, dtype, -0.99, 0.99))
        for key, size in ((of_mask, flat), (of_pattern, shape))
    )
    whole = jnp.ones(flat, dtype)
    none = Found(whole, scaled(domain, jnp.full(shape, 0.5, dtype)), jnp.sum(whole))
    first = _State(
        inside, adam.init(inside), jnp.asarray(search.strength, dtype), jnp.int32(0), none
    )
    return jax.lax.fori_loop(0, search.rounds, round_, first).best
