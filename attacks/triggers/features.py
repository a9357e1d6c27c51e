"""A trigger of few features, for tables."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..domains import AbstractDomain, Box
from ._trigger import AbstractTrigger, require_inside


class Features(AbstractTrigger):
    """Sets features of a table to the values of the pattern.

    - `columns` (k,): indices of the features, k >= 1 different ones.
    - `pattern` (k,): their values.
    - `domain`: of the k values, by default unbounded; `Columns` makes them levels and categories.

    Raises `ValueError` for columns given twice, for another number of values, and for values
    outside the domain; `check` for columns that do not exist.
    """

    columns: Int[Array, " k"]
    pattern: Float[Array, " k"]
    domain: AbstractDomain

    def __init__(self, columns, values, domain: AbstractDomain | None = None):
        columns = np.asarray(columns)
        if columns.ndim != 1 or not columns.size or not np.issubdtype(columns.dtype, np.integer):
            raise ValueError(
                f"columns: got {columns.dtype} of shape {columns.shape}, expected integers (k,), "
                "k >= 1, the indices of the features"
            )
        if np.unique(columns).size != columns.size:
            raise ValueError(f"columns: got {columns.tolist()}, expected each feature once")
        self.columns, self.pattern = jnp.asarray(columns), jnp.asarray(values, float)
        if self.pattern.shape != columns.shape:
            raise ValueError(
                f"values: got shape {self.pattern.shape}, expected {columns.shape}, one per column"
            )
        self.domain = Box(-jnp.inf, jnp.inf) if domain is None else domain
        require_inside(self.pattern, self.domain)

    def check(self, shape):
        if len(shape) != 1:
            raise ValueError(f"trigger: got rows of shape {shape}, expected a table, (d,)")
        wrong = [int(c) for c in np.asarray(self.columns) if not 0 <= c < shape[0]]
        if wrong:
            raise ValueError(
                f"columns: got the column {wrong[0]}, expected 0 to {shape[0] - 1} for "
                f"{shape[0]} features"
            )

    def apply(self, pattern, x):
        return x.at[:, self.columns].set(self.placed(pattern), unique_indices=True)
