"""Cholesky factors by operations that compile fast.

LAPACK keeps a matrix by columns and XLA by rows: L by columns is U = L' by rows. Held as U, a
factor that an iteration carries needs no copy at each of its uses.
"""

from jax import lax
from jaxtyping import Array, Float


def cholesky(matrix: Float[Array, "k k"]) -> Float[Array, "k k"]:
    """U with U'U = matrix (symmetric); NaN if the matrix is not positive definite.

    Only the upper triangle is meaningful. `lax.linalg.cholesky` would clear the lower one by a
    mask, which XLA stores and transposes.
    """
    return lax.linalg.cholesky_p.bind(matrix.T).T


def solve(chol: Float[Array, "k k"], rhs: Float[Array, " k"]) -> Float[Array, " k"]:
    """(U'U)^-1 rhs."""
    y = lax.linalg.triangular_solve(chol.T, rhs[:, None], left_side=True, lower=True)
    y = lax.linalg.triangular_solve(chol.T, y, left_side=True, lower=True, transpose_a=True)
    return y[:, 0]


def diagonal(matrix: Float[Array, "k k"]) -> Float[Array, " k"]:
    """The diagonal, by a strided slice, which compiles faster than the gather of `jnp.diagonal`."""
    k = matrix.shape[0]
    return lax.slice(matrix.reshape(-1), (0,), (k * k,), (k + 1,))
