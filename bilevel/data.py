"""Training data: rows, labels, and a weight per row."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._tree import concrete


class Data(eqx.Module):
    """Rows `x` (n, d), labels `y` (n,), weights (n,), all of one floating dtype.

    A weight multiplies its row's loss: 0 leaves the row out, and the derivative of a goal in a
    weight is the influence of that row. NumPy input is accepted; integers become floats.
    """

    x: Float[Array, "n d"]
    y: Float[Array, " n"]
    weight: Float[Array, " n"]

    def __init__(self, x, y, weight=None):
        self.x = _floating(x)
        self.y = _floating(y).astype(self.x.dtype)
        ones = jnp.ones(jnp.shape(self.y), self.x.dtype)
        self.weight = ones if weight is None else _floating(weight).astype(self.x.dtype)
        if self.x.ndim != 2:
            raise ValueError(f"x: got shape {self.x.shape}, expected (rows, features)")
        for name in ("y", "weight"):
            if getattr(self, name).shape != self.x.shape[:1]:
                raise ValueError(
                    f"{name}: got shape {getattr(self, name).shape}, expected "
                    f"{self.x.shape[:1]}, one per row of x"
                )
        require_finite(x=self.x, y=self.y, weight=self.weight)

    @property
    def rows(self) -> int:
        return self.x.shape[0]


def append(
    data: Data,
    x: Float[Array, "m d"],
    y: Float[Array, " m"],
    weight: Float[Array, " m"] | None = None,
) -> Data:
    """The data with rows added at the end, of weight one unless given."""
    more = jnp.ones(y.shape, data.weight.dtype) if weight is None else weight
    return Data(
        jnp.concatenate([data.x, x]),
        jnp.concatenate([data.y, y]),
        jnp.concatenate([data.weight, more]),
    )


def _floating(a) -> Array:
    a = jnp.asarray(a)
    return a if jnp.issubdtype(a.dtype, jnp.floating) else a.astype(float)


def require_finite(**arrays) -> None:
    """ValueError naming the first array with NaN or infinity. Traced values pass unseen."""
    for name, a in arrays.items():
        if concrete(a) and not np.all(np.isfinite(np.asarray(a))):
            bad = np.argwhere(~np.isfinite(np.asarray(a)))
            raise ValueError(
                f"{name}: {len(bad)} of {np.size(a)} values are NaN or infinite, the first at "
                f"index {tuple(int(i) for i in bad[0])}; impute or drop them first"
            )
