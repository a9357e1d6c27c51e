"""Plain iteration of a map, for fixed points."""

import jax.numpy as jnp
from jaxtyping import PyTree

from ..._iteration import AbstractIteration
from ..._solver import Point
from ..._tree import all_finite, norm, require_count, tree_sub
from ...problems import FixedPoint
from ...results import CONVERGED, MAX_STEPS, NON_FINITE
from .._equilibrium import AbstractEquilibrium


class Picard(AbstractIteration, AbstractEquilibrium):
    """`steps` times w <- map(w, args) on a `FixedPoint` problem.

    Unlike `Anderson` it follows the map, and so ends at fixed points that attract it alone. The
    solution is the end of the path. `Unroll` differentiates the path exactly. `Implicit` assumes a
    fixed point; with `linear.Neumann(k, rate=1.0)` it takes k terms of the series of the map's
    powers (Grazzi et al., "On the iteration complexity of hypergradient computation", ICML 2020).

    - `steps`: number of steps, >= 1; otherwise `ValueError`.
    - `tol`: the solve has failed if |map(w) - w| is above it. Infinite by default.
    """

    steps: int
    tol: float = float("inf")

    def __check_init__(self):
        require_count("steps", self.steps)

    def begin(self, problem: FixedPoint, warm: PyTree) -> PyTree:
        return warm

    def step(self, problem: FixedPoint, state: PyTree, index) -> PyTree:
        return problem.map(state, problem.args)

    def unknowns(self, problem: FixedPoint, state: PyTree) -> PyTree:
        return state

    def arrive(self, problem: FixedPoint, state: PyTree) -> Point:
        residual = norm(tree_sub(problem.map(state, problem.args), state))
        result = jnp.where(residual <= self.tol, CONVERGED, MAX_STEPS)
        result = jnp.where(all_finite((state, residual)), result, NON_FINITE).astype(jnp.int32)
        stats = {"steps": jnp.int32(self.steps), "residual": residual}
        return Point(state, state, state, result, stats)
