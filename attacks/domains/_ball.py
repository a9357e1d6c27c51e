"""What norm balls share: centre, radius, box, and the projection onto ball and box at once."""

import abc

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bilevel.tools import concrete, require_finite

from ._bounds import spread
from ._domain import AbstractDomain
from .box import Box

Sizes = Float[Array, "m d"]


class AbstractBall(AbstractDomain):
    """Rows within `radius` of the rows of `centre` (m, d), in a norm, and inside a box.

    Every row has a ball of its own; centres lie in the box. `project` is the Euclidean projection
    onto the intersection, exact to rounding.
    """

    centre: eqx.AbstractVar[Float[Array, "m d"]]
    radius: eqx.AbstractVar[Float[Array, ""]]
    inside: eqx.AbstractVar[Box]

    @abc.abstractmethod
    def norm(self, step: Sizes) -> Float[Array, "m 1"]:
        """Of each row."""

    @abc.abstractmethod
    def shrink(self, size: Sizes, cap: Sizes, radius: Float[Array, ""]) -> Sizes:
        """The point nearest to `size` >= 0, per row, of the ball around 0 and the box [0, cap],
        where [0, cap] alone does not keep it in the ball.
        """

    def check(self, shape, name="domain"):
        if self.centre.shape != shape:
            raise ValueError(
                f"{name}.centre: got shape {self.centre.shape}, expected {shape}: (rows, features)"
            )

    def project(self, z):
        # A move away from the centre and its cap are on one side of 0 in every feature, so that
        # signs go and come back.
        centre, radius = self.centre.astype(z.dtype), self.radius.astype(z.dtype)
        step, boxed = z - centre, self.inside.project(z)
        lower, upper = spread(self.inside.lower, z), spread(self.inside.upper, z)
        cap = jnp.where(step > 0, upper - centre, centre - lower)
        new = centre + jnp.sign(step) * self.shrink(jnp.abs(step), cap, radius)
        return jnp.where(self.norm(boxed - centre) <= radius, boxed, self.inside.project(new))

    def place(self, z):
        return z


def ball(centre, radius, inside: Box) -> tuple[Array, Array, Box]:
    """The three fields; ValueError with a sentence if they make no ball."""
    centre, radius = jnp.asarray(centre, float), jnp.asarray(radius, float)
    if centre.ndim != 2:
        raise ValueError(
            f"centre: got shape {centre.shape}, expected (rows, features): one centre per row"
        )
    require_finite(centre=centre)
    if concrete(radius) and not (radius.ndim == 0 and 0 < float(radius) < np.inf):
        raise ValueError(f"radius: got {radius}, expected a finite number > 0")
    inside.check(centre.shape, "inside")
    if all(map(concrete, (centre, inside.lower, inside.upper))):
        gap = np.abs(np.asarray(centre - inside.project(centre)))
        if np.any(gap > 0):
            row, feature = np.unravel_index(np.argmax(gap), gap.shape)
            raise ValueError(
                f"centre: lies outside the box `inside`, in row {row} by {gap.max():.3g} in "
                f"feature {feature}; widen the box, or take inside.project(centre)"
            )
    return centre, radius, inside
