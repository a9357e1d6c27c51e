"""Dense quadratic programs."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .constrained import AbstractConstrained


class QP(AbstractConstrained):
    """min_x 1/2 x'Qx + q'x  subject to  Ax = b  and  Gx <= h.

    - `Q` (n, n): only its symmetric part is used. It need not be definite: a solver ends at a local
      minimiser. `q` (n,).
    - `A` (p, n), `b` (p,): equalities. `G` (m, n), `h` (m,): inequalities. Either pair may be left
      out.

    `BoxQP` is faster for bounds and at most one equality. Raises `ValueError` for shapes that do
    not match and for half a pair.
    """

    Q: Float[Array, "n n"]
    q: Float[Array, " n"]
    A: Float[Array, "p n"] | None = None
    b: Float[Array, " p"] | None = None
    G: Float[Array, "m n"] | None = None
    h: Float[Array, " m"] | None = None

    def __check_init__(self):
        shape = jnp.shape(self.q)
        if len(shape) != 1 or jnp.shape(self.Q) != shape * 2:
            raise ValueError(
                f"Q: got shape {jnp.shape(self.Q)} with q {shape}; expected (n, n) and (n,)"
            )
        for names, matrix, vector in (("A, b", self.A, self.b), ("G, h", self.G, self.h)):
            if (matrix is None) != (vector is None):
                raise ValueError(f"{names}: got one of the two; give both, or neither")
            rows = jnp.shape(vector) if vector is not None else ()
            if matrix is not None and (len(rows) != 1 or jnp.shape(matrix) != rows + shape):
                raise ValueError(
                    f"{names}: got shapes {jnp.shape(matrix)} and {rows}; expected (k, n) and "
                    f"(k,) with n = {shape[0]}, the length of q"
                )

    def initial(self):
        return jnp.zeros_like(self.q)

    def cost(self, x):
        return x @ (0.5 * (self.Q @ x) + self.q)

    def equality(self, x):
        return None if self.A is None else self.A @ x - self.b

    def inequality(self, x):
        return None if self.G is None else self.G @ x - self.h
