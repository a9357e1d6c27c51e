"""A low-rank approximation of an adjoint."""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

from ._linear import AbstractLinearSolver, Operator


class Nystrom(AbstractLinearSolver):
    """v = (A_r + shift I)^-1 r with A_r the Nystrom approximation of A from `rank` of its columns,
    (Hataya & Yamada 2023). It costs `rank` products with A, for any condition number.

    An approximation, for large A whose eigenvalues decay: its residual is reported by the
    certificate and is not checked. A must be positive semi-definite. Directions outside the span of
    the columns are divided by `shift`.

    - `rank`: number of columns, >= 1. `shift`: > 0. `seed`: of the draw of columns.

    Raises `ValueError` for a rank or shift out of range.
    """

    rank: int = 20
    shift: float = 1e-2
    seed: int = 0

    def __check_init__(self):
        if self.rank < 1:
            raise ValueError(f"rank: got {self.rank}, expected at least 1")
        if not self.shift > 0:
            raise ValueError(f"shift: got {self.shift}, expected a positive number")

    def solve(self, matvec: Operator, backsolve: Operator, rhs: PyTree) -> PyTree:
        flat, unravel = ravel_pytree(rhs)
        rank = min(self.rank, flat.size)
        chosen = jax.random.choice(jax.random.key(self.seed), flat.size, (rank,), replace=False)
        rows = jnp.zeros((rank, flat.size), flat.dtype).at[jnp.arange(rank), chosen].set(1.0)
        columns = jax.vmap(lambda e: ravel_pytree(matvec(unravel(e)))[0])(rows)  # A symmetric
        core = columns[:, chosen]
        # Woodbury: (shift I + C' W^-1 C)^-1 r = (r - C' (shift W + C C')^-1 C r) / shift
        small = self.shift * core + columns @ columns.T
        # A column of zeros (a weight without curvature) or a dependent one makes it singular.
        ridge = jnp.finfo(flat.dtype).eps * jnp.trace(small) + jnp.finfo(flat.dtype).tiny
        small = small + ridge * jnp.eye(rank, dtype=flat.dtype)
        return unravel((flat - columns.T @ jnp.linalg.solve(small, columns @ flat)) / self.shift)
