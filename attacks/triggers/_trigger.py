"""The interface of triggers."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from bilevel.tools import concrete, require_finite

from ..domains import AbstractDomain


class AbstractTrigger(eqx.Module):
    """A change of rows, differentiable in its pattern and in the rows.

    - `pattern`: the pattern of a fixed attack, and the start of an optimised one. For `Stamp` the
      pattern is the decision variable.
    - `domain`: of the pattern, as one row: valid values, and the convex set of the ascent.
    """

    pattern: eqx.AbstractVar[PyTree]
    domain: eqx.AbstractVar[AbstractDomain]

    @abc.abstractmethod
    def apply(self, pattern: PyTree, x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """The rows x (n, ...) with the trigger. The pattern is in their dtype."""

    @abc.abstractmethod
    def check(self, shape: tuple[int, ...]) -> None:
        """ValueError, with a sentence, if the trigger does not fit rows of this shape (...)."""

    def project(self, pattern: PyTree) -> PyTree:
        """The nearest feasible pattern."""
        return self.domain.project(pattern[None])[0]

    def units(self, pattern: PyTree) -> PyTree:
        """Units of changes of each entry: the width of its interval, or one."""
        return self.domain.units(pattern[None])[0]

    def direction(self, gradient: PyTree) -> PyTree:
        """The direction of a step: by default the sign in `units`, which is steepest for a pattern
        that is bounded entry by entry.
        """
        return jax.tree.map(lambda u, g: u * jnp.sign(g), self.units(gradient), gradient)

    def placed(self, pattern: Float[Array, "..."]) -> Float[Array, "1 ..."]:
        """A valid pattern near this one, as one row, with the derivative of the pattern itself."""
        return self.domain.place(pattern[None])

    def like(self, dtype) -> PyTree:
        """The default pattern in the dtype of the rows."""
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), self.pattern)


def require_inside(pattern: Array, domain: AbstractDomain) -> None:
    """ValueError unless the domain fits the pattern and contains it."""
    row = pattern[None]
    domain.check(row.shape)
    if not concrete(pattern):
        return
    require_finite(pattern=pattern)
    gap = domain.outside(row)
    if gap > 1e-6:
        raise ValueError(
            f"pattern: lies outside its domain, by {gap:.3g} at most; give values in the range of "
            "the rows, or domain= with that range"
        )


def require_mask(mask: Array) -> None:
    """ValueError unless a mask has values in [0, 1], and one above 0."""
    if not concrete(mask):
        return
    low, high = np.min(mask, initial=1), np.max(mask, initial=0)
    if not (low >= 0 and high <= 1):
        raise ValueError(f"mask: got values from {low:g} to {high:g}, expected values in [0, 1]")
    if high == 0:
        raise ValueError(
            "mask: is zero everywhere, so that the trigger changes nothing; set it to 1 where the "
            "pattern replaces the row"
        )


def require_row_shape(found: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """ValueError unless a pattern of shape `found` covers rows of this shape."""
    if found == shape:
        return
    larger = len(found) == len(shape) and any(a > b for a, b in zip(found, shape, strict=True))
    raise ValueError(
        f"trigger: got a pattern of shape {found} for rows of shape {shape}"
        + (", which it exceeds" if larger else "")
        + "; expected the shape of a row, with a mask that is 0 outside the trigger"
    )
