"""The relaxed KKT system of an interior point: a direction where the gradient is zero."""

import jax.numpy as jnp
from jaxtyping import Array

from ._kkt_solver import AbstractKKTSolver, Face, Rows


class Relaxed(AbstractKKTSolver):
    """Minimiser of cost - mu sum log(-inequality) subject to the equalities, mu > 0: the point at
    `mu` on the central path of `Constrained`, `QP` or `BoxQP`.

    Its implicit derivative is **not the gradient** of the constrained minimiser, and never stands
    in for it. It is a direction to explore: every inequality pulls a little, so that it is not
    zero where the true one is (an SVM whose poison point is no support vector). Smaller `mu` is
    nearer to the truth, and to its zeros. The central path asks for a feasible set with interior.

    `value` is as `PrimalDual`'s; the multipliers are mu / -inequality.
    """

    mu: float = 1e-2
    max_steps: int = 200

    def __check_init__(self):
        if not self.mu > 0:
            raise ValueError(f"mu: got {self.mu}, expected > 0; for mu = 0 there is PrimalDual")

    def barrier(self) -> float:
        return self.mu

    def rows(self, g: Array, lam: Array, active: Array) -> Rows:
        # slacks eliminated by s lam = mu, the multipliers kept: the Jacobian stays symmetric
        safe = jnp.where(lam > 0, lam, 1)
        return Rows(jnp.ones_like(active), g + self.mu / safe, self.mu / safe**2)

    def update(self, g: Array, lam: Array, active: Array, tolerances: tuple[Array, Array]) -> Array:
        return lam > 0

    def margin(self, g: Array, lam: Array, face: Face) -> Array:
        """Nothing changes along the central path, unless one has left it."""
        return jnp.where((g < 0) & (lam > 0), jnp.inf, -jnp.inf)
