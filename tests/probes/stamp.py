"""A trigger: stamped, relabelled copies in training, and the stamp on the rows shown."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from attacks import AbstractCapability
from bilevel import append


class Stamp(AbstractCapability):
    """z (height, width, channels) is a pattern, added where `mask` is 1 (Gu et al. 2017, with a
    pattern that is optimised). Copies of the training rows `rows` are stamped and given `label`.
    """

    mask: Float[Array, "h w c"]
    rows: Int[Array, " m"]
    label: int
    keeps_rows = True

    def shapes(self, data):
        return jax.ShapeDtypeStruct(data.x.shape[1:], data.x.dtype)

    def inject(self, z, data):
        x = self.present(z, data.x[self.rows])
        return append(data, x, jnp.full(self.rows.shape, self.label, data.y.dtype))

    def present(self, z, x, *, key=None):
        return x + (self.mask * z)[None]

    def project(self, z):
        return jnp.clip(z, -1, 1)

    def places(self, data):
        return data.rows + np.arange(self.rows.shape[0])

    def direction(self, gradient):
        """Steepest for a pattern that is bounded entry by entry."""
        return jnp.sign(gradient)
