"""Training data: rows, labels, and a weight per row."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from ._program import program, tracing
from ._tree import concrete


class Data(eqx.Module):
    """Rows `x` (n, ...), labels `y` (n,), weights (n,).

    - `x`: tables (n, d), images (n, height, width, channels), any rank >= 2; floating.
    - `y`: in its own dtype: -1 and +1, class numbers, or real targets.
    - `weight`: multiplies the row's loss. A weight of 0 leaves the row out; the derivative of a
      goal in a weight is the influence of that row. In the dtype of x; ones by default.

    NumPy input is accepted. Raises `ValueError` for shapes that do not match, values that are not
    real numbers, NaN and infinity.
    """

    x: Float[Array, "n ..."]
    y: Shaped[Array, " n"]
    weight: Float[Array, " n"]

    def __init__(self, x, y, weight=None):
        self.x = _floating("x", x)
        self.y = _numbers("y", y)
        dtype = self.x.dtype
        if weight is None:
            shape = jnp.shape(self.y)
            # Outside of programs `jnp.ones` compiles one for each new number of rows.
            self.weight = (
                jnp.ones(shape, dtype) if tracing() else jax.device_put(np.ones(shape, dtype))
            )
        else:
            self.weight = _floating("weight", weight).astype(dtype)
        if self.x.ndim < 2:
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

    def targets(self) -> Float[Array, " n"]:
        """The labels in the dtype of x, for losses that compute with them."""
        return self.y.astype(self.x.dtype)


def append(
    data: Data,
    x: Float[Array, "m ..."],
    y: Shaped[Array, " m"],
    weight: Float[Array, " m"] | None = None,
) -> Data:
    """`data` with rows x (m, ...), labels y (m,) and weights (m,; ones by default) at the end.

    In the dtypes of `data`. Raises `ValueError` as `Data` does, and for rows of another shape.
    """
    x, y = _numbers("x", x), _numbers("y", y)
    if x.shape[1:] != data.x.shape[1:]:
        raise ValueError(
            f"x: got rows of shape {x.shape[1:]}, expected {data.x.shape[1:]}, as in `data`"
        )
    more = jnp.ones(y.shape, data.weight.dtype) if weight is None else _numbers("weight", weight)
    return Data(*_joined(data.x, data.y, data.weight, x, y, more))


@program
def _joined(x: Array, y: Array, weight: Array, *more: Array) -> tuple[Array, Array, Array]:
    more_x, more_y, more_weight = more
    if jnp.issubdtype(y.dtype, jnp.integer):
        more_y = jnp.round(more_y)  # a cast alone cuts 1.999... to 1
    return (
        jnp.concatenate([x, more_x.astype(x.dtype)]),
        jnp.concatenate([y, more_y.astype(y.dtype)]),
        jnp.concatenate([weight, more_weight.astype(weight.dtype)]),
    )


def _numbers(name: str, a) -> Array:
    """`a` as an array of numbers, booleans as integers; ValueError if it is not numbers."""
    if hasattr(a, "toarray"):  # SciPy's sparse matrices
        raise ValueError(f"{name}: got a sparse matrix, expected an array; pass {name}.toarray()")
    if isinstance(a, np.ma.MaskedArray):
        raise ValueError(f"{name}: got a masked array, expected an array; fill or drop its holes")
    try:
        if isinstance(a, np.ndarray) and (a.dtype == object or not a.dtype.isnative):
            a = a.astype(float if a.dtype == object else a.dtype.newbyteorder("="))
        # `asarray` compiles a program for each new shape of a NumPy array, and both it and
        # `device_put` may share the memory of one: a later change of its values would come through.
        a = jax.device_put(a.copy()) if isinstance(a, np.ndarray) else jnp.asarray(a)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: got {type(a).__name__}, expected numbers ({error})") from None
    if a.dtype == bool:
        return a.astype(jnp.int32)
    if not (jnp.issubdtype(a.dtype, jnp.floating) or jnp.issubdtype(a.dtype, jnp.integer)):
        raise ValueError(f"{name}: got {a.dtype}, expected real numbers")
    return a


def _floating(name: str, a) -> Array:
    a = _numbers(name, a)
    return a if jnp.issubdtype(a.dtype, jnp.floating) else a.astype(float)


def require_finite(**arrays) -> None:
    """ValueError that names the first array with NaN or infinity. Traced values are not checked."""
    for name, a in arrays.items():
        if concrete(a) and not np.all(np.isfinite(np.asarray(a))):
            bad = np.argwhere(~np.isfinite(np.asarray(a)))
            raise ValueError(
                f"{name}: {len(bad)} of {np.size(a)} values are NaN or infinite, the first at "
                f"index {tuple(int(i) for i in bad[0])}; impute or drop them first"
            )
