"""A positive semi-definite matrix of low rank, by a factor."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Product(eqx.Module):
    """ZZ' for Z (n, r): the `Q` of a `BoxQP` with fewer columns than variables. A product costs
    2 n r, and solvers work with r where they would with n.

    - `factor`: Z.
    """

    factor: Float[Array, "n r"] = eqx.field(converter=jnp.asarray)

    @property
    def shape(self) -> tuple[int, int]:
        n = self.factor.shape[0]
        return n, n

    def __matmul__(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        return self.factor @ (x @ self.factor)

    def diagonal(self) -> Float[Array, " n"]:
        return jnp.sum(self.factor * self.factor, axis=1)

    def block(self, chosen: Int[Array, " k"]) -> Float[Array, "k k"]:
        """Rows and columns `chosen` of the matrix."""
        z = self.factor[chosen]
        return z @ z.T

    def dense(self) -> Float[Array, "n n"]:
        return self.factor @ self.factor.T
