"""The relaxed KKT system of an interior point: directions for points of zero gradient."""

import jax.numpy as jnp
from jaxtyping import Array

from ._kkt_solver import AbstractKKTSolver, Face, Rows


class Relaxed(AbstractKKTSolver):
    """Minimiser of cost - mu sum log(-inequality) subject to the equalities, mu > 0: the point at
    `mu` on the central path of `Constrained`, `QP` or `BoxQP`.

    Its implicit derivative is **not the gradient** of the constrained minimiser. It is a direction
    for exploration: every inequality has some effect, so that it is not zero where the gradient is
    (an SVM whose poison point is no support vector). For smaller `mu` it is closer to the gradient,
    and to its zeros. The feasible set must have an interior.

    - `mu`: > 0; otherwise `ValueError`.
    - `max_steps`: interior-point steps, at most.

    `value` is that of `PrimalDual`; the multipliers are mu / -inequality.
    """

    mu: float = 1e-2
    max_steps: int = 200

    def __check_init__(self):
        if not self.mu > 0:
            raise ValueError(f"mu: got {self.mu}, expected > 0; use PrimalDual for mu = 0")

    def barrier(self) -> float:
        return self.mu

    def rows(self, g: Array, lam: Array, active: Array) -> Rows:
        # s lam = mu eliminates the slacks; with the multipliers the Jacobian stays symmetric
        safe = jnp.where(lam > 0, lam, 1)
        return Rows(jnp.ones_like(active), g + self.mu / safe, self.mu / safe**2)

    def update(self, g: Array, lam: Array, active: Array, tolerances: tuple[Array, Array]) -> Array:
        return lam > 0

    def margin(self, g: Array, lam: Array, face: Face) -> Array:
        """Infinite on the central path, which has no active set; minus infinity off it."""
        return jnp.where((g < 0) & (lam > 0), jnp.inf, -jnp.inf)
