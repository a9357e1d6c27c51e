"""Each poison row at the target (Poison Frogs, Shafahi et al., NeurIPS 2018)."""

import jax.numpy as jnp

from .collide import AbstractCollision


class Frogs(AbstractCollision):
    """mean_j |f(x_j) - f(t)|^2: every poison row alone meets the target.

    The paper adds beta |x_j - base_j|^2, the goal `Resembling`, in place of a ball around the base.
    """

    def distance(self, here, there):
        return jnp.mean(jnp.sum((here - there[None]) ** 2, axis=1))
