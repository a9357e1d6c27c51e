"""The sum of the Euclidean norms of groups of unknowns."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ._penalty import AbstractPenalty, require_strength


def _labels(groups: Sequence[int | np.integer] | np.ndarray) -> tuple[int, ...]:
    labels = np.asarray(groups)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or (labels.size and labels.min() < 0):
        raise ValueError(
            f"groups: got an array of {labels.dtype} and shape {labels.shape}; expected the group "
            "of each unknown, as integers from 0 on, in one dimension"
        )
    return tuple(labels.tolist())


class GroupL1(AbstractPenalty):
    """sum_g strength_g |w_g|, the group LASSO (Yuan & Lin 2006).

    - `strength`: >= 0, a number or one for each group (the paper has lam * sqrt(size of g)). A
      group of strength zero is never dropped.
    - `groups`: the group of each unknown, integers from 0 on, in the order of `ravel_pytree(w)`;
      static.

    A face is the set of groups that are not zero. Along it the penalty is curved. Raises
    `ValueError` for strengths that are not >= 0 and for groups that are not one integer >= 0 per
    unknown.
    """

    strength: Float[Array, "..."] | float
    groups: tuple[int, ...] = eqx.field(static=True, converter=_labels)

    def __check_init__(self):
        require_strength("strength", self.strength)

    @property
    def count(self) -> int:
        return max(self.groups, default=-1) + 1

    def flat(self, w):
        flat, _ = ravel_pytree(w)
        if flat.size != len(self.groups):
            raise ValueError(
                f"groups: got {len(self.groups)}, expected {flat.size}, one for each unknown"
            )
        if jnp.shape(self.strength) not in ((), (self.count,)):
            raise ValueError(
                f"strength: got shape {jnp.shape(self.strength)}, expected one number or one for "
                f"each of the {self.count} groups"
            )
        strength = jnp.broadcast_to(jnp.asarray(self.strength, flat.dtype), (self.count,))
        return GroupL1(strength, self.groups)

    def _norms(self, w: Float[Array, " d"]) -> Float[Array, " g"]:
        squares = jax.ops.segment_sum(w * w, jnp.asarray(self.groups), self.count)
        some = squares > 0  # the norm has no derivative at zero; none is used there
        return jnp.where(some, jnp.sqrt(jnp.where(some, squares, 1)), 0)

    def _each(self, of_group: Array) -> Array:
        return of_group[jnp.asarray(self.groups)]

    def prox(self, v, t):
        norms = self._norms(v)
        left = jnp.maximum(norms - t * self.strength, 0)
        return v * self._each(left / jnp.where(norms > 0, norms, 1))

    def face(self, w):
        return (self._norms(w) > 0) | (self.strength == 0)

    def free(self, face):
        return self._each(face)

    def fixed(self, face):
        return jnp.zeros(len(self.groups), jnp.result_type(self.strength))

    def smooth(self, w, face):
        return jnp.sum(jnp.where(face, self.strength * self._norms(w), 0))

    def slack(self, w, slope, face):
        inside = jnp.where(self.strength == 0, jnp.inf, self._norms(w))
        outside = self.strength - self._norms(slope)
        return jnp.where(face, inside, jnp.inf), jnp.where(face, jnp.inf, outside)
