"""Base of norm balls: centre, radius, box, and the projection onto their intersection."""

import abc

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bilevel.tools import concrete, program, require_finite

from ._bounds import spread
from ._domain import AbstractDomain
from .box import Box

Sizes = Float[Array, "*m d"]


class AbstractBall(AbstractDomain):
    """Rows within `radius` of the rows of `centre` (m, ...) in a norm, one ball per row, and inside
    a box. `project` is the Euclidean projection onto the intersection, exact to rounding.

    - `centre` (m, ...): tables or images, inside the box. `radius`: > 0, in units of the features.
    - `inside`: the `Box`.

    Raises `ValueError` for a centre outside the box and for values out of range.
    """

    centre: eqx.AbstractVar[Float[Array, "m ..."]]
    radius: eqx.AbstractVar[Float[Array, ""]]
    inside: eqx.AbstractVar[Box]

    @abc.abstractmethod
    def norm(self, step: Sizes) -> Float[Array, "m 1"]:
        """The norm of each row, flattened."""

    @abc.abstractmethod
    def shrink(self, size: Sizes, cap: Sizes, radius: Float[Array, ""]) -> Sizes:
        """Per row, the point nearest to `size` >= 0 in the ball around 0 and the box [0, cap], for
        rows whose projection onto [0, cap] is outside the ball.
        """

    def check(self, shape, name="domain"):
        if self.centre.shape != shape:
            raise ValueError(
                f"{name}.centre: got shape {self.centre.shape}, expected {shape}: one row each"
            )

    @program
    def project(self, z):
        # In every feature, the move from the centre and its cap have the same sign, so that the
        # projection is that of magnitudes.
        centre, radius = self.centre.astype(z.dtype), self.radius.astype(z.dtype)
        lower, upper = spread(self.inside.lower, z), spread(self.inside.upper, z)
        shape, boxed = z.shape, jnp.clip(z, lower, upper)
        z, centre, lower, upper, boxed = (
            a.reshape(shape[0], -1) for a in (z, centre, lower, upper, boxed)
        )
        step = z - centre
        cap = jnp.where(step > 0, upper - centre, centre - lower)
        new = centre + jnp.sign(step) * self.shrink(jnp.abs(step), cap, radius)
        inside = self.norm(boxed - centre) <= radius
        return jnp.where(inside, boxed, jnp.clip(new, lower, upper)).reshape(shape)

    def place(self, z):
        return z


def ball(centre, radius, inside: Box | None) -> tuple[Array, Array, Box]:
    """The three fields as arrays; ValueError, with a sentence, if they are not valid."""
    inside = Box(-jnp.inf, jnp.inf) if inside is None else inside
    centre, radius = jnp.asarray(centre, float), jnp.asarray(radius, float)
    if centre.ndim < 2:
        raise ValueError(
            f"centre: got shape {centre.shape}, expected (rows, features) or (rows, *image): one "
            "centre per row"
        )
    require_finite(centre=centre)
    if concrete(radius) and not (radius.ndim == 0 and 0 < float(radius) < np.inf):
        raise ValueError(f"radius: got {radius}, expected a finite number > 0")
    inside.check(centre.shape, "inside")
    if all(map(concrete, (centre, inside.lower, inside.upper))):
        gap = np.abs(np.asarray(centre - inside.project(centre)))
        if np.any(gap > 0):
            row, *feature = map(str, np.unravel_index(np.argmax(gap), gap.shape))
            raise ValueError(
                f"centre: lies outside the box `inside`, in row {row} by {gap.max():.3g} in "
                f"feature {', '.join(feature)}; widen the box, or use inside.project(centre)"
            )
    return centre, radius, inside
