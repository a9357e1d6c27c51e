"""What an attacker's choice makes of the data."""

from typing import TYPE_CHECKING

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from bilevel import Data

if TYPE_CHECKING:
    from .capabilities import AbstractCapability


class World(eqx.Module):
    """The data as z changes them, which a goal sees beside the trained model.

    - `train`: the rows that the learner is trained on.
    - `poison`: those of them that are the attacker's, in the order of z; no rows if none are.
    - `z`, `reach`: the attacker's choice, and what it may change. `World(data)` has no attacker.
    """

    train: Data
    poison: Data | None = None
    z: PyTree = None
    reach: "AbstractCapability | None" = None

    def shown(
        self, x: Float[Array, "n ..."], *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "n ..."]:
        """Rows as the attacker shows them to the finished model: stamped, perturbed, or as is."""
        return x if self.reach is None else self.reach.present(self.z, x, key=key)
