"""Two clusters of the rows of each class."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from ._features import Featured, centred, count, principal

ROUNDS = 100
TAIL = 1.5
"""Standard deviations from the mean at which a start cuts off a tail."""


class Clusters(NamedTuple):
    """Two clusters of each class.

    - `small`, `large` (c, n): the rows of the smaller one and of the other.
    - `reduced` (c, n, k): the rows in the components of their class, others zero.
    - `score` (n,): distance to the centre of the larger cluster less that to the smaller one.
    """

    small: Bool[Array, "c n"]
    large: Bool[Array, "c n"]
    reduced: Float[Array, "c n k"]
    score: Float[Array, " n"]

    def share(self) -> Float[Array, " c"]:
        """Relative size of the smaller cluster; one half of a class without rows."""
        dtype = self.reduced.dtype
        small, large = (jnp.sum(m, axis=1, dtype=dtype) for m in (self.small, self.large))
        return jnp.where(small + large > 0, small / jnp.maximum(small + large, 1), 0.5)

    def silhouette(self) -> Float[Array, " c"]:
        """Mean silhouette (Rousseeuw 1987) of the rows of each class."""
        return lax.map(lambda one: _silhouette(*one), (self.reduced, self.small, self.large))


def clusters(rows: Featured, components: int, whiten: bool) -> Clusters:
    """k-means of two clusters on the first principal components of each class; from a cut of each
    component at its mean, and at either tail. That of least spread counts.
    """

    def of_class(inside):
        x = centred(rows, inside)
        directions, variances = principal(x, min(components, x.shape[1]))
        z = x @ directions
        if whiten:
            known = variances > 1e-6 * variances[0]
            scale = jnp.where(known, 1 / jnp.sqrt(jnp.where(known, variances, 1)), 0)
            z = z * scale[None, :]
        variance = jnp.sum(z**2, axis=0) / count(inside, z)
        tail = TAIL * jnp.sqrt(variance)[None, :]
        starts = jnp.concatenate([z > 0, z > tail, z < -tail], axis=1).T
        split, spread = lax.map(lambda start: _two_means(z, inside, start), starts)
        first = split[jnp.argmin(spread)] & inside
        second = inside & ~first
        swap = jnp.sum(first) > jnp.sum(second)
        small, large = jnp.where(swap, second, first), jnp.where(swap, first, second)
        to_small, to_large = (_distance(z, mask) for mask in (small, large))
        return small, large, z, jnp.where(inside, to_large - to_small, 0)

    small, large, z, score = lax.map(of_class, rows.members())
    return Clusters(small, large, z, jnp.sum(score, axis=0))


def _two_means(z, inside, start):
    """Lloyd's iteration from a mask: (the mask, the sum of squared distances)."""

    def step(state):
        mask, _, done = state
        first, second = (_distance(z, part) for part in (mask & inside, ~mask & inside))
        return first < second, mask, done + 1

    def moving(state):
        mask, before, done = state
        return (done < ROUNDS) & jnp.any((mask != before) & inside)

    mask, _, _ = lax.while_loop(moving, step, (start, ~start, 0))
    spread = jnp.minimum(_distance(z, mask & inside), _distance(z, ~mask & inside)) ** 2
    return mask, jnp.sum(jnp.where(inside, spread, 0))


def _distance(z, mask):
    """Of all rows to the mean of the rows of a mask; infinite if it is empty."""
    centre = jnp.sum(jnp.where(mask[:, None], z, 0), axis=0) / count(mask, z)
    return jnp.where(jnp.any(mask), jnp.linalg.norm(z - centre[None, :], axis=1), jnp.inf)


def _silhouette(z, small, large):
    inside = small | large

    def of_row(i):
        apart = jnp.linalg.norm(z - z[i][None, :], axis=1)
        mine = jnp.where(small[i], small, large)
        own = jnp.sum(jnp.where(mine, apart, 0)) / jnp.maximum(count(mine, z) - 1, 1)
        rest = inside & ~mine
        other = jnp.sum(jnp.where(rest, apart, 0)) / count(rest, z)
        value = (other - own) / jnp.maximum(jnp.maximum(other, own), 1e-30)
        return jnp.where(jnp.sum(mine) > 1, value, 0.0)

    each = lax.map(of_row, jnp.arange(z.shape[0]), batch_size=64)
    return jnp.sum(jnp.where(inside, each, 0)) / count(inside, z)
