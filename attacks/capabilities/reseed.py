"""New draws for rows of zero gradient."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


class Reseed(eqx.Module):
    """For `maximize(reseed=...)`: replaces rows whose hypergradient is exactly zero by random rows
    of a pool.

    - `pool` (k, ...): the candidate rows.
    """

    pool: Float[Array, "k ..."]

    def __call__(self, key: PRNGKeyArray, z: Array, gradient: Array) -> Array:
        drawn = jax.random.choice(key, self.pool, (z.shape[0],))
        stuck = jnp.all(gradient == 0, axis=tuple(range(1, z.ndim)))
        return jnp.where(stuck.reshape(-1, *(1,) * (z.ndim - 1)), drawn, z)
