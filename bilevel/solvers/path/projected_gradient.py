"""A path of projected gradient steps of fixed rate, for quadratic programs."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ..._iteration import AbstractIteration
from ..._solver import Point
from ..._tree import all_finite, norm, stop_gradient
from ...problems import BoxQP, Product
from ...results import CONVERGED, MAX_STEPS, NON_FINITE
from ..qp import _face

State = tuple[Array, Array, Array]


class ProjectedGradient(AbstractIteration):
    """`steps` times x <- P(x - rate (Qx + q)) on a `BoxQP`, with Nesterov's momentum.

    P projects onto the box and the equality. For derivatives along the path, as in unrolled attacks
    on an SVM; `ActiveSet` converges to the solution. `value` is (x, nu), as for `ActiveSet`.

    - `steps`: number of steps, >= 1.
    - `rate`: below 1 / |Q|; by default 1 over the largest absolute row sum of Q, which is below it.
    - `tol`: the solve has failed if |P(...) - x| is above it. Infinite by default.

    Raises `ValueError` for steps or rate out of range; an implicit derivative raises it too.
    """

    steps: int
    rate: float | None = None
    tol: float = float("inf")

    def __check_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps: got {self.steps}, expected at least 1")
        if self.rate is not None and not self.rate > 0:
            raise ValueError(f"rate: got {self.rate}, expected a positive number, or None")

    def cold(self, problem: BoxQP) -> Array:
        return _project(problem, jnp.zeros_like(problem.q))[0]

    def begin(self, problem: BoxQP, warm: Array) -> State:
        return warm, warm, jnp.zeros((), problem.q.dtype)

    def step(self, problem: BoxQP, state: State, index: Array) -> State:
        x, before, _ = state
        k = index.astype(x.dtype)
        y = x + k / (k + 3) * (x - before)
        new, nu = self._map(problem, y)
        return new, x, nu

    def _map(self, problem: BoxQP, x: Array) -> tuple[Array, Array]:
        rate = self.rate
        if rate is None:
            Q = problem.Q.dense() if isinstance(problem.Q, Product) else problem.Q
            rate = 1 / jnp.max(jnp.sum(jnp.abs(Q), axis=1))
        new, shift = _project(problem, x - rate * (problem.Q @ x + problem.q))
        return new, shift / rate

    def unknowns(self, problem: BoxQP, state: State) -> tuple[Array, Array]:
        x, _, nu = state
        return x, nu

    def arrive(self, problem: BoxQP, state: State) -> Point:
        x, _, nu = state
        residual = norm(self._map(problem, x)[0] - x)
        result = jnp.where(residual <= self.tol, CONVERGED, MAX_STEPS)
        result = jnp.where(all_finite((x, nu)), result, NON_FINITE).astype(jnp.int32)
        stats = {"steps": jnp.int32(self.steps), "residual": residual}
        return Point((x, nu), None, x, result, stats)

    def conditions(self, problem, unknowns, frozen):
        raise ValueError(
            "derivative: ProjectedGradient is a path; differentiate it with Unroll(), Truncated() "
            "or Forward(), or use ActiveSet() for the implicit derivative"
        )

    def value(self, problem: BoxQP, unknowns, frozen):
        return unknowns

    def backsolve(self, problem, frozen, rhs):
        return self.conditions(problem, rhs, frozen)

    def slack(self, problem: BoxQP, unknowns, frozen) -> Array:
        x, _ = unknowns
        return jnp.concatenate([x - problem.lower, problem.upper - x])


def _project(qp: BoxQP, v: Float[Array, " n"]) -> tuple[Array, Array]:
    """The point of the box nearest to v that meets the equality, x = clip(v - nu e), and nu.

    Bisection finds the face. nu is then computed from v, e, b and the bounds on that face, so that
    it is exact and has exact derivatives.
    """
    e, b = _face.equality(qp)
    still = stop_gradient((v, e, b, qp.lower, qp.upper))

    def at(nu):
        v, e, _, lower, upper = still
        return jnp.clip(v - nu * e, lower, upper)

    def body(_, ends):
        low, high = ends
        middle = 0.5 * (low + high)
        above = jnp.sum(still[1] * at(middle)) > still[2]
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    # for nu outside (-end, end) every bounded entry is at a bound
    reach = jnp.abs(still[0]) + jnp.where(jnp.isfinite(qp.lower), jnp.abs(still[3]), 0)
    reach = reach + jnp.where(jnp.isfinite(qp.upper), jnp.abs(still[4]), 0)
    unit = jnp.min(jnp.where(still[1] != 0, jnp.abs(still[1]), jnp.inf))
    end = (jnp.sum(reach) + jnp.abs(still[2]) + 1) / jnp.where(jnp.isfinite(unit), unit, 1)
    low, high = lax.fori_loop(0, 100, body, (-end, end))
    w = still[0] - 0.5 * (low + high) * still[1]
    below, above = w <= still[3], w >= still[4]
    free = ~below & ~above
    x = jnp.where(below, qp.lower, jnp.where(above, qp.upper, v))
    squares = jnp.sum(jnp.where(free, e * e, 0))
    some = squares > 0
    nu = jnp.where(some, (jnp.sum(e * x) - b) / jnp.where(some, squares, 1), 0.5 * (low + high))
    return jnp.where(free, v - nu * e, x), nu
