"""How far to go along a hypergradient: steps of a length that falls over the run."""

from typing import Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

FALL = 0.01
"""The last step in units of the first."""


class Directed(Protocol):
    """What an ascent asks of an objective."""

    def scale(self, z: PyTree) -> Float[Array, ""]: ...

    def direction(self, gradient: PyTree) -> PyTree: ...


class Ascent(eqx.Module):
    """Steps along the objective's own steepest direction (`direction`), of a length that falls
    geometrically from `first` to `last` over the run: the size of the gradient plays no part.

    - `share`: length of the first step, in units of the objective's `scale`. Of an attack that is
      the spread of the training rows.
    - `first`: length of the first step, in units of z, in place of a share.
    - `last`: length of the last step; by default a hundredth of the first.
    - `over`: evaluations over which the length falls; by default the steps of the run. Give it
      where one ascent is cut into several runs by `state=`.
    - `momentum`: share of the step before that a step goes on with. It carries rows over where
      their valid values do not change.
    """

    share: float = 0.3
    first: float | Float[Array, ""] | None = None
    last: float | Float[Array, ""] | None = None
    momentum: float = 0.0
    over: int | None = None

    def __check_init__(self):
        for name in ("share", "first", "last"):
            value = getattr(self, name)
            if isinstance(value, int | float) and not 0 < value < float("inf"):
                raise ValueError(f"{name}: got {value}, expected a step length > 0, or None")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum: got {self.momentum}, expected a share in [0, 1)")

    def optimizer(self, objective: Directed, steps: int) -> optax.GradientTransformation:
        """The updates, for gradients of an objective that is descended."""
        over = steps if self.over is None else self.over

        def init(z):
            dtype = jax.tree.leaves(z)[0].dtype
            first = self.share * objective.scale(z) if self.first is None else self.first
            last = FALL * first if self.last is None else self.last
            first, last = jnp.asarray(first, dtype), jnp.asarray(last, dtype)
            fall = (last / first) ** (1 / max(over - 1, 1))
            return Pace(first, fall, jax.tree.map(jnp.zeros_like, z))

        def update(gradient, pace, z):
            del z
            along = objective.direction(gradient)
            carried = jax.tree.map(lambda a, c: self.momentum * c - a, along, pace.carried)
            updates = jax.tree.map(lambda c: pace.length * c, carried)
            return updates, Pace(pace.length * pace.fall, pace.fall, carried)

        return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


class Pace(eqx.Module):
    """Where an ascent stands: the length of the next step, what it is multiplied by for the one
    after, and the directions so far.
    """

    length: Float[Array, ""]
    fall: Float[Array, ""]
    carried: PyTree
