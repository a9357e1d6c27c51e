"""Worlds: the data as changed by an attacker."""

from typing import TYPE_CHECKING

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from bilevel import Data

if TYPE_CHECKING:
    from .capabilities import AbstractCapability


class World(eqx.Module):
    """The data as changed by z: the argument of goals, with the trained model.

    - `train`: the training rows.
    - `poison`: the attacker's training rows, in the order of z; perhaps without rows.
    - `z`, `reach`: the decision variable and the capability. `World(data)` has no attacker.
    """

    train: Data
    poison: Data | None = None
    z: PyTree = None
    reach: "AbstractCapability | None" = None

    def shown(
        self, x: Float[Array, "n ..."], *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "n ..."]:
        """Rows as presented to the trained model: stamped, perturbed or unchanged."""
        return x if self.reach is None else self.reach.present(self.z, x, key=key)
