"""Quadratic programs with a box and one equality."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._tree import concrete
from ._problem import AbstractProblem
from .product import Product


class BoxQP(AbstractProblem):
    """min_x 1/2 x'Qx + q'x  subject to  lower <= x <= upper  and  e'x = b.

    - `Q` (n, n): symmetric positive semi-definite, or `Product(Z)` for ZZ'. `q` (n,).
    - `lower`, `upper` (n,): may be infinite; equal bounds fix a variable.
    - `e` (n,), `b` (): the equality; leave both out for a problem without one.

    Raises `ValueError` for shapes that do not match, e without b, and lower > upper.
    """

    Q: Float[Array, "n n"] | Product
    q: Float[Array, " n"]
    lower: Float[Array, " n"]
    upper: Float[Array, " n"]
    e: Float[Array, " n"] | None = None
    b: Float[Array, ""] | None = None

    def __check_init__(self):
        shape = jnp.shape(self.q)
        if len(shape) != 1 or self.Q.shape != shape * 2:
            raise ValueError(
                f"Q: got shape {self.Q.shape} with q {shape}; expected (n, n) and (n,)"
            )
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
