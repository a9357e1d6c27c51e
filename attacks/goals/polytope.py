"""The target in the convex hull of the poison (Convex Polytope, Zhu et al., ICML 2019)."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from bilevel import AbstractSolver, argmin
from bilevel.problems import BoxQP
from bilevel.results import CONVERGED
from bilevel.solvers import ActiveSet

from .collide import AbstractCollision


class Polytope(AbstractCollision):
    """min_c 1/2 |sum_j c_j f(x_j) - f(t)|^2 / |f(t)|^2 over the simplex, c >= 0 and sum c = 1.

    The coefficients solve a quadratic program inside the objective, exactly at every step; the
    paper takes steps of forward-backward splitting. Each layer and each network has its own. By the
    envelope theorem the gradient is that at fixed coefficients; second derivatives need the
    implicit derivative of the program, which this is.

    - `solver`: of the program, for `BoxQP`.

    The program is solved in the default floating dtype, float64 where that is enabled. If it was
    not solved, the distance is NaN.
    """

    solver: AbstractSolver = ActiveSet()

    def distance(self, here, there):
        c, result = self._solved(here, there)
        square = jnp.sum((c.astype(here.dtype) @ here - there) ** 2)
        return jnp.where(result == CONVERGED, 0.5 * square / jnp.sum(there**2), jnp.nan)

    def coefficients(
        self, here: Float[Array, "m f"], there: Float[Array, " f"]
    ) -> Float[Array, " m"]:
        """The c of poison with features `here` and a target with features `there`."""
        return self._solved(here, there)[0]

    def _solved(self, here: Array, there: Array) -> tuple[Float[Array, " m"], Int[Array, ""]]:
        apart = here.astype(float) - there.astype(float)[None]
        # With sum c = 1 the square is c'Qc for the distances from the target: no cancellation.
        Q = apart @ apart.T / jnp.sum(there.astype(float) ** 2)
        one = jnp.ones(here.shape[0])
        simplex = BoxQP(Q, 0 * one, 0 * one, jnp.inf * one, one, jnp.ones(()))
        solution = argmin(simplex, solver=self.solver, throw=False)
        return solution.value[0], solution.result
