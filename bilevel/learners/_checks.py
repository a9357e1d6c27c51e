"""Checks of the data and strengths of learners."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._data import Data
from .._tree import concrete
from ..results import CONVERGED, INVALID


def strength(name: str, value, *, zero: bool = False) -> Float[Array, ""]:
    """A regularisation strength as an array (); ValueError unless a finite number > 0, or >= 0 if
    `zero`. `name` begins the message. Traced values are not checked.
    """
    if concrete(value) and not (
        np.ndim(value) == 0 and 0 <= float(value) < np.inf and (zero or float(value) > 0)
    ):
        wanted = "a finite number >= 0" if zero else "a finite number > 0"
        raise ValueError(f"{name}: got {value}, expected {wanted}")
    return jnp.asarray(value, float)


def validity(
    data: Data, *strengths: Float[Array, ""], positive: int = 1, signs: bool = False
) -> Int[Array, ""]:
    """`CONVERGED`, or `INVALID` for what the checks above refuse: they see no traced values.

    - `strengths`: of which the first `positive` must be > 0 and the others >= 0.
    - `signs`: labels are -1 and +1, or between them (of a soft vote); there must be rows of both.
    """
    weight, y = data.weight, data.y
    ok = jnp.all(weight >= 0) & jnp.any(weight > 0)
    for i, strength in enumerate(strengths):
        ok &= (strength > 0 if i < positive else strength >= 0) & jnp.isfinite(strength)
    if signs:
        ok &= jnp.all(jnp.abs(y) <= 1)
        ok &= jnp.any((y > 0) & (weight > 0)) & jnp.any((y < 0) & (weight > 0))
    return jnp.where(ok, CONVERGED, INVALID).astype(jnp.int32)


def require_table(data: Data) -> None:
    """ValueError unless the rows are a table (n, d)."""
    if data.x.ndim != 2:
        raise ValueError(
            f"x: got shape {data.x.shape}, expected a table (rows, features); reshape images to "
            "x.reshape(len(x), -1), or train a network"
        )
    if data.x.shape[1] == 0:
        raise ValueError("x: got no features, expected some")
    if data.x.dtype.itemsize < 4:
        raise ValueError(
            f"x: got {data.x.dtype}, expected float32 or float64: linear systems are solved"
        )


def require_weights(data: Data) -> None:
    """ValueError if there are no rows, a weight is negative, or all weights are zero. Traced
    weights are not checked.
    """
    if data.rows == 0:
        raise ValueError("x: got no rows, expected some to train on")
    if not concrete(data.weight):
        return
    weight = np.asarray(data.weight)
    if np.any(weight < 0):
        raise ValueError(f"weight: got {weight.min()}, expected weights >= 0; 0 leaves a row out")
    if not np.any(weight > 0):
        raise ValueError(f"weight: got {weight.size} weights, all zero, expected some > 0")


def require_classes(data: Data) -> None:
    """ValueError unless labels are -1 and +1 and both have rows of weight > 0. Traced labels are
    not checked.
    """
    if not concrete(data.y):
        return
    labels = np.unique(np.asarray(data.y))
    if not np.all(np.isin(labels, (-1, 1))):
        raise ValueError(
            f"y: got labels {labels[:5]}, expected only -1 and +1; relabel the classes"
        )
    if not concrete(data.weight):
        return
    trained = np.unique(np.asarray(data.y)[np.asarray(data.weight) > 0])
    if trained.size == 1:
        raise ValueError(
            f"y: every row with weight > 0 has the label {trained[0]:g}, expected rows of both "
            "classes; add rows of the other"
        )
