"""Bounds."""

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._tree import concrete
from ._penalty import AbstractPenalty, spread


class Box(AbstractPenalty):
    """lower_j <= w_j <= upper_j.

    - `lower`, `upper`: of the forms of `L1`'s strength; infinite for no bound.

    A face has for each coordinate -1 (at the lower bound), 1 (at the upper bound) or 0 (free).
    The derivative in a bound is that of the coordinates at it.
    """

    separable = True

    lower: PyTree
    upper: PyTree

    def __check_init__(self):
        ends = jax.tree.leaves((self.lower, self.upper))
        plain = all(concrete(end) and jnp.ndim(end) == 0 for end in ends)
        if plain and len(ends) == 2 and not ends[0] <= ends[1]:
            raise ValueError(f"lower: got {ends[0]} with upper {ends[1]}, expected lower <= upper")

    def flat(self, w):
        return Box(spread(self.lower, w, "lower"), spread(self.upper, w, "upper"))

    def prox(self, v, t):
        return jnp.clip(v, self.lower, self.upper)

    def face(self, w):
        at = jnp.where(w >= self.upper, 1, 0)
        return jnp.where(w <= self.lower, -1, at).astype(jnp.int8)

    def free(self, face):
        return face == 0

    def fixed(self, face):
        return jnp.where(face > 0, self.upper, jnp.where(face < 0, self.lower, 0))

    def smooth(self, w, face):
        return jnp.zeros((), w.dtype)

    def slack(self, w, slope, face):
        inside = jnp.where(face == 0, jnp.minimum(w - self.lower, self.upper - w), jnp.inf)
        at_bound = jnp.where(self.lower >= self.upper, jnp.inf, jnp.where(face > 0, -slope, slope))
        return inside, jnp.where(face == 0, jnp.inf, at_bound)
