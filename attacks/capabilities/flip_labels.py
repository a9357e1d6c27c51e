"""Label flips within a budget."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from bilevel import Data
from bilevel.tools import concrete

from ..domains._domain import straight_through
from ..domains.l1_ball import soften
from ._capability import AbstractCapability, indices, require_rows, require_shapes

Flips = Float[Array, " k"]


class FlipLabels(AbstractCapability):
    """Flip labels, -1 or +1, of training rows.

    - `rows`: indices (k,) of the rows that may be flipped.
    - `budget`: largest number of flips, 1 to k.

    z (k,) is the flipped share of each row: 0 <= z <= 1, sum z <= budget. A row of weight w keeps
    the weight w (1 - z), and a copy with the opposite label, after all rows, has the weight w z.
    For z of zeros and ones this is equivalent to the training set with those labels flipped. The
    hypergradient at such z ranks the flips (Paudice et al. 2018 flip greedily by retraining);
    `flipped` returns the rows to retrain on.

    Raises `ValueError` for rows or a budget out of range; `check` raises it for other labels.
    """

    rows: Int[Array, " k"]
    budget: int = eqx.field(static=True)
    keeps_rows = True

    def __init__(self, rows, budget: int):
        self.rows, self.budget = indices(rows), budget
        many = self.rows.shape[0]
        if isinstance(budget, bool) or not isinstance(budget, int) or not 1 <= budget <= many:
            raise ValueError(
                f"budget: got {budget!r}, expected the number of labels to flip, 1 to {many}, the "
                "number of rows"
            )

    def check(self, data: Data) -> None:
        require_rows(self.rows, data)
        if concrete(data.y) and concrete(self.rows):
            labels = np.asarray(data.y)[np.asarray(self.rows)]
            if not np.all(np.abs(labels) == 1):
                raise ValueError(
                    f"y: got the label {labels[np.abs(labels) != 1][0]:g} among the rows to flip, "
                    "expected -1 and +1; relabel the classes"
                )

    def shapes(self, data: Data) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(self.rows.shape, data.x.dtype)

    def inject(self, z: Flips, data: Data) -> Data:
        require_shapes("z", z, self.shapes(data))
        return self.mix(self.place(z), data)

    def places(self, data):
        """The copies with the opposite label."""
        return data.rows + np.arange(self.rows.shape[0])

    def project(self, z: Flips) -> Flips:
        boxed = jnp.clip(z, 0, 1)
        fits = jnp.sum(boxed) <= self.budget
        total = jnp.asarray(self.budget, z.dtype)
        return jnp.where(fits, boxed, soften(z, jnp.ones_like(z), total))

    def place(self, z: Flips) -> Flips:
        """1 for the `budget` largest entries above a half, 0 for the others."""
        values, where = lax.top_k(lax.stop_gradient(z), self.budget)
        flips = jnp.zeros_like(z).at[where].set((values > 0.5).astype(z.dtype))
        return straight_through(z, flips)

    def mix(self, z: Flips, data: Data) -> Data:
        """The data for shares z, which may be fractions."""
        weight = data.weight[self.rows]
        z = z.astype(weight.dtype)
        return Data(
            jnp.concatenate([data.x, data.x[self.rows]]),
            jnp.concatenate([data.y, -data.y[self.rows]]),
            jnp.concatenate([data.weight.at[self.rows].set(weight * (1 - z)), weight * z]),
        )

    def flipped(self, z: Flips, data: Data) -> Data:
        """The training rows with the labels that z flips, for the victim."""
        signs = (1 - 2 * lax.stop_gradient(self.place(z))).astype(data.y.dtype)
        return eqx.tree_at(
            lambda d: d.y, data, data.y.at[self.rows].multiply(signs, unique_indices=True)
        )
