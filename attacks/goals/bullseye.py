"""The target at the centre of the poison (Bullseye Polytope, Aghakhani et al., EuroS&P 2021)."""

import jax.numpy as jnp

from .collide import AbstractCollision


class Bullseye(AbstractCollision):
    """|mean_j f(x_j) - f(t)| / |f(t)|, the Euclidean norm, as the authors' code has it.

    It asks for no more than `Polytope`, a target in the convex hull, but for its middle: a margin
    that other networks leave to the target. At the middle itself its derivative is taken as zero.
    """

    def distance(self, here, there):
        square = jnp.sum((jnp.mean(here, axis=0) - there) ** 2)
        met = square == 0  # where the root has no derivative
        root = jnp.where(met, 0, jnp.sqrt(jnp.where(met, 1, square)))
        return root / jnp.sqrt(jnp.sum(there**2))
