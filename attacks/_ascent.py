"""The ascent that the shipped attacks share: steps of a length that falls geometrically."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

import bilevel
from bilevel.maximize import Optimized, Step, value_only

from ._compose import Attack


def unit(gradient: PyTree) -> PyTree:
    """The gradient at length 1, root mean square over rows: those that matter more move more."""
    leaves = jax.tree.leaves(gradient)
    size = jnp.sqrt(sum(jnp.sum(leaf * leaf) for leaf in leaves) / leaves[0].shape[0])
    return jax.tree.map(lambda leaf: leaf / jnp.where(size > 0, size, 1), gradient)


def ascend(
    attack: Attack,
    start: PyTree,
    *,
    steps: int,
    first_step: float | Float[Array, ""],
    last_step: float | Float[Array, ""],
    momentum: float = 0.0,
    record: Callable[[Step], object] = value_only,
    reseed: Callable[[PRNGKeyArray, PyTree, PyTree], PyTree] | None = None,
) -> Optimized:
    """Climb `attack` from `start`, whose leaves have a row per poison row.

    All rows move along the normalised gradient by a length, root mean square over rows and in
    units of a feature, that falls geometrically from `first_step` to `last_step` over `steps`
    evaluations. A step goes on with `momentum` times the one before: that carries rows over where
    their valid values do not change. Compiled once per shape.
    """
    start = attack.reach.check_start(jax.tree.map(jnp.asarray, start), attack.data)
    dtype = jax.tree.leaves(start)[0].dtype
    decay = (last_step / first_step) ** (1 / max(steps - 1, 1))
    lengths = jnp.asarray(first_step, dtype), jnp.asarray(decay, dtype)
    return _ascend(attack, start, lengths, steps, momentum, record, reseed)


@eqx.filter_jit
def _ascend(attack, start, lengths, steps, momentum, record, reseed) -> Optimized:
    first, decay = lengths
    optimizer = optax.chain(
        optax.stateless(lambda updates, _: jax.tree.map(jnp.negative, unit(updates))),
        optax.trace(momentum) if momentum else optax.identity(),
        optax.scale_by_schedule(lambda step: first * decay**step),
    )
    return bilevel.maximize(
        attack,
        start,
        optimizer=optimizer,
        project=attack.reach.project,
        steps=steps,
        patience=steps,  # the schedule shortens the steps
        record=record,
        reseed=reseed,
    )
