"""General constrained problems: a primal-dual interior point, then Newton on the active set."""

import jax.numpy as jnp
from jaxtyping import Array

from ._kkt_solver import AbstractKKTSolver, Face, Rows


class PrimalDual(AbstractKKTSolver):
    """Local minimisers of `Constrained`, `QP` and `BoxQP` with up to some hundred unknowns.

    A primal-dual interior point (see `_barrier`) finds the active inequalities. Newton's method
    solves the KKT system of that face until rounding, and exchanges inequalities of the wrong sign.
    `value` is `KKTPoint(x, nu, lam)`, differentiable in all parts.

    The result is `CONVERGED` only if the derivative exists: gradients of the active constraints are
    independent, multipliers of active inequalities are positive, and the Lagrangian's Hessian is
    positive definite on their tangent space (Fiacco 1976). Otherwise the result is `DEGENERATE`;
    x is still a minimiser. A result `INFEASIBLE` has a minimiser of the violation as x; for convex
    constraints this proves infeasibility.

    A warm start on the right face takes two or three factorisations; on another face the cold solve
    follows. If the problem has several minimisers, a warm start may end at one nearby.

    - `max_steps`: interior-point steps, at most.
    """

    max_steps: int = 200

    def barrier(self) -> float:
        return 0.0

    def rows(self, g: Array, lam: Array, active: Array) -> Rows:
        # the multiplier of an inactive inequality is a dummy, fixed at zero
        return Rows(active, jnp.where(active, g, -lam), jnp.where(active, 0.0, 1.0).astype(g.dtype))

    def update(self, g: Array, lam: Array, active: Array, tolerances: tuple[Array, Array]) -> Array:
        length, force = tolerances
        return jnp.where(active, lam >= -force, g > length)

    def margin(self, g: Array, lam: Array, face: Face) -> Array:
        """Multipliers of active inequalities, distances to inactive ones."""
        return jnp.where(face.active, lam / face.force, -g / face.length)
