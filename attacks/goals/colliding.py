"""Poison rows whose features are those of other rows."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from bilevel.tools import require_finite

from ._goal import AbstractGoal, require_alike


class Colliding(AbstractGoal):
    """-mean |f(poison_i) - f(source_j(i))|^2 / mean |f(source)|^2: poison takes the features of
    source rows as they are shown, with the trigger (Hidden Trigger, Saha et al., AAAI 2020).

    - `x` (k, ...): source rows, without the trigger; at least as many as poison rows.

    Each poison row has a source of its own: the closest pair first, then the closest of the others.
    All poison rows count the same, whatever they weigh in training. The pairs are chosen anew at
    each evaluation, and have no derivative. f are the features of the trained model; with
    `learners.Fixed(network)` they stay.
    """

    x: Float[Array, "k ..."]

    def check(self, data):
        require_finite(x=self.x)
        require_alike(self.x, data)

    def score(self, model, world, *, key=None):
        if world.poison is None or world.poison.rows > self.x.shape[0]:
            rows = 0 if world.poison is None else world.poison.rows
            raise ValueError(
                f"x: got {self.x.shape[0]} source rows for {rows} poison rows, expected one or "
                "more poison rows, and a source row for each"
            )
        there = model.features(world.shown(self.x, key=key))
        here = model.features(world.poison.x)
        apart = here - there[paired(lax.stop_gradient((here, there)))]
        return -jnp.mean(jnp.sum(apart**2, axis=1)) / jnp.mean(jnp.sum(there**2, axis=1))


def paired(features: tuple[Float[Array, "m f"], Float[Array, "k f"]]) -> Int[Array, " m"]:
    """For each row of the first the index of its row of the second, greedily, each used once."""
    here, there = features
    squares = jnp.sum(here**2, 1)[:, None] + jnp.sum(there**2, 1)[None] - 2 * here @ there.T

    def take(state, _):
        left, pairs = state
        i, j = jnp.unravel_index(jnp.argmin(left), left.shape)
        left = left.at[i].set(jnp.inf).at[:, j].set(jnp.inf)
        return (left, pairs.at[i].set(j.astype(pairs.dtype))), None

    start = squares, jnp.zeros(here.shape[0], jnp.int32)
    (_, pairs), _ = lax.scan(take, start, length=here.shape[0])
    return pairs
