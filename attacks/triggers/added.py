"""A trigger that is added to the rows."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bilevel.tools import concrete

from ..domains import AbstractDomain, Box
from ._trigger import AbstractTrigger, require_inside, require_row_shape


class Added(AbstractTrigger):
    """x + pattern, without clipping: the trigger of the theory of linear models, and a watermark
    for images whose range leaves room.

    - `pattern`: of a row's shape.
    - `domain`: of the pattern, by default unbounded; for tables also a ball around zeros (1, d).

    Raises `ValueError` for a pattern of zeros, and for one outside its domain.
    """

    pattern: Float[Array, "..."]
    domain: AbstractDomain

    def __init__(self, pattern, domain: AbstractDomain | None = None):
        self.pattern = jnp.asarray(pattern, float)
        self.domain = Box(-jnp.inf, jnp.inf) if domain is None else domain
        if concrete(self.pattern) and not np.any(self.pattern):
            raise ValueError("pattern: is zero everywhere, so that the trigger changes nothing")
        require_inside(self.pattern, self.domain)

    def check(self, shape):
        require_row_shape(self.pattern.shape, shape)

    def apply(self, pattern, x):
        return x + self.placed(pattern)
