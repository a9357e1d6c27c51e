"""General constrained problems: a primal-dual interior point, polished on its active set."""

import jax.numpy as jnp
from jaxtyping import Array

from ._kkt_solver import AbstractKKTSolver, Face, Rows


class PrimalDual(AbstractKKTSolver):
    """Local minimisers of `Constrained`, `QP` and `BoxQP` with up to some hundred unknowns.

    A primal-dual interior point (see `_barrier`) comes close and says which inequalities are
    active; Newton's method solves the KKT system of that face until rounding, exchanging
    inequalities of the wrong sign as it goes. `value` is `KKTPoint(x, nu, lam)`, all of it
    differentiable.

    The result is `CONVERGED` only where the derivative exists: gradients of the active constraints
    independent, multipliers of active inequalities positive, the Lagrangian's Hessian positive
    definite on their tangent space (Fiacco 1976). A point where these fail is `DEGENERATE`, and
    x is its answer all the same. `INFEASIBLE` is a minimiser of the violation: proof, if the
    constraints are convex.

    A warm start whose face still holds costs two or three factorisations; where it does not the
    solve is the cold one. If the problem has several minimisers, a warm start may end at the one
    nearby.

    - `max_steps`: of the interior point.
    """

    max_steps: int = 200

    def barrier(self) -> float:
        return 0.0

    def rows(self, g: Array, lam: Array, active: Array) -> Rows:
        # the multiplier of an inactive inequality is a dummy, held at zero
        return Rows(active, jnp.where(active, g, -lam), jnp.where(active, 0.0, 1.0).astype(g.dtype))

    def update(self, g: Array, lam: Array, active: Array, tolerances: tuple[Array, Array]) -> Array:
        length, force = tolerances
        return jnp.where(active, lam >= -force, g > length)

    def margin(self, g: Array, lam: Array, face: Face) -> Array:
        """Multipliers of active inequalities, distances to inactive ones."""
        return jnp.where(face.active, lam / face.force, -g / face.length)
