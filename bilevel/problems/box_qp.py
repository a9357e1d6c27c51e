"""Quadratic programs with a box and one equality."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._tree import concrete
from ._problem import AbstractProblem
from .product import Product


def _floating(leaf: Any) -> Any:
    if leaf is None or isinstance(leaf, Product):
        return leaf
    leaf = jnp.asarray(leaf)
    return leaf if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf.astype(float)


def _require_semidefinite(Q: np.ndarray) -> None:
    """ValueError for a matrix with a negative eigenvalue beyond rounding; NaN passes."""
    size = np.max(np.abs(Q))
    if not np.isfinite(size) or size == 0:
        return
    slop = 1e-6 if Q.dtype.itemsize >= 8 else 1e-3
    try:
        np.linalg.cholesky(Q + slop * size * np.eye(len(Q), dtype=Q.dtype))
    except np.linalg.LinAlgError:
        raise ValueError(
            f"Q: got an indefinite matrix, of least eigenvalue {np.linalg.eigvalsh(Q)[0]:.2g}; "
            "expected a positive semi-definite one. For a local minimiser pose it as "
            "problems.QP, for solvers.PrimalDual"
        ) from None


class BoxQP(AbstractProblem):
    """min_x 1/2 x'Qx + q'x  subject to  lower <= x <= upper  and  e'x = b.

    - `Q` (n, n): symmetric positive semi-definite, or `Product(Z)` for ZZ'. `q` (n,).
    - `lower`, `upper` (n,): may be infinite; equal bounds fix a variable.
    - `e` (n,), `b` (): the equality; leave both out for a problem without one.

    Numbers are converted to floating arrays. Raises `ValueError` for shapes that do not match, no
    variables, a Q that is not symmetric or has a negative eigenvalue, e without b, and
    lower > upper. Under `jit` values are not checked.
    """

    Q: Float[Array, "n n"] | Product = eqx.field(converter=_floating)
    q: Float[Array, " n"] = eqx.field(converter=_floating)
    lower: Float[Array, " n"] = eqx.field(converter=_floating)
    upper: Float[Array, " n"] = eqx.field(converter=_floating)
    e: Float[Array, " n"] | None = eqx.field(default=None, converter=_floating)
    b: Float[Array, ""] | None = eqx.field(default=None, converter=_floating)

    def __check_init__(self):
        shape = jnp.shape(self.q)
        if len(shape) != 1 or self.Q.shape != shape * 2:
            raise ValueError(
                f"Q: got shape {self.Q.shape} with q {shape}; expected (n, n) and (n,)"
            )
        if shape == (0,):
            raise ValueError("q: got no variables, expected some")
        if concrete(self.Q) and not isinstance(self.Q, Product):
            Q = np.asarray(self.Q)
            apart = np.max(np.abs(Q - Q.T))
            if apart > 1e-6 * np.max(np.abs(Q)):
                raise ValueError(
                    f"Q: got a matrix that differs from its transpose by {apart:.2g}, expected a "
                    "symmetric one; pass (Q + Q.T) / 2"
                )
            _require_semidefinite(Q)
        for name in ("lower", "upper", "e"):
            leaf = getattr(self, name)
            if leaf is not None and jnp.shape(leaf) != shape:
                raise ValueError(
                    f"{name}: got shape {jnp.shape(leaf)}, expected {shape}, that of q"
                )
        if (self.e is None) != (self.b is None):
            raise ValueError("e and b: give both for the equality e'x = b, or neither")
        if concrete(self.lower) and concrete(self.upper):
            wrong = np.flatnonzero(np.asarray(self.lower) > np.asarray(self.upper))
            if wrong.size:
                raise ValueError(
                    f"lower: exceeds upper at index {wrong[0]} (and {wrong.size - 1} more); "
                    "expected lower <= upper"
                )
