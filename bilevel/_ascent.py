"""Step lengths of an ascent along a hypergradient: they fall over the run."""

from typing import Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

FALL = 0.01
"""Default length of the last step, in units of the first."""


class Directed(Protocol):
    """The methods of an objective that an ascent calls."""

    def scale(self, z: PyTree) -> Float[Array, ""]: ...

    def direction(self, gradient: PyTree) -> PyTree: ...


class Ascent(eqx.Module):
    """Steps along the objective's steepest direction (`direction`). Their length falls
    geometrically from `first` to `last` over the run and does not depend on |gradient|.

    - `share`: length of the first step, in units of the objective's `scale`. The scale of an
      attack is the spread of the training rows.
    - `first`: length of the first step, in units of z; replaces `share`.
    - `last`: length of the last step, in units of z; by default a hundredth of the first.
    - `momentum`: weight of the previous step in the next, in [0, 1). It moves rows across regions
      in which their valid values do not change.
    - `over`: number of evaluations over which the length falls; by default the steps of the run.
      Give it if `state=` cuts one ascent into several runs.

    Raises `ValueError` for a length that is not > 0 and for a momentum outside [0, 1).
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
        """The optax transformation that descends `objective` in a run of `steps` evaluations."""
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
    """State of an ascent: the length of the next step, the factor between two lengths, and the
    momentum (sum of past directions).
    """

    length: Float[Array, ""]
    fall: Float[Array, ""]
    carried: PyTree
