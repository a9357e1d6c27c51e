"""A path of proximal gradient steps of fixed rate, for problems with a penalty."""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from ..._iteration import AbstractIteration
from ..._solver import Point
from ..._tree import all_finite, norm, tree_sub
from ...linear import GMRES
from ...problems.composite import Composite
from ...results import CONVERGED, MAX_STEPS, NON_FINITE


class ProximalGradient(AbstractIteration):
    """`steps` times w <- prox(w - rate grad loss(w)), plain (ISTA) or with Nesterov's momentum.

    For derivatives along the path, or for early stopping; `FISTA` converges to the solution.
    `Unroll` differentiates the path exactly. `Implicit` assumes that its end is the fixed point
    w = prox(...), whose Jacobian is not symmetric.

    - `steps`: number of steps, >= 1.
    - `rate`: > 0, below 2 / L (below 1 / L with momentum); L is the largest curvature of the loss.
    - `momentum`: Nesterov's, t_k = (k + 2) / 2 (Beck & Teboulle 2009 up to constants).
    - `tol`: the solve has failed if |prox(...) - w| is above it. Infinite by default.

    Raises `ValueError` for steps or rate out of range.
    """

    steps: int
    rate: float
    momentum: bool = True
    tol: float = float("inf")

    symmetric = False

    def __check_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps: got {self.steps}, expected at least 1")
        if not self.rate > 0:
            raise ValueError(f"rate: got {self.rate}, expected a positive number")

    def cold(self, problem: Composite) -> PyTree:
        return problem.start

    def begin(self, problem: Composite, warm: PyTree) -> PyTree:
        return warm, warm

    def step(self, problem: Composite, state: PyTree, index: Array) -> PyTree:
        w, before = state
        if not self.momentum:
            return self._map(problem, w), w
        k = index.astype(jax.tree.leaves(w)[0].dtype)
        ahead = k / (k + 3)
        return self._map(problem, jax.tree.map(lambda a, b: a + ahead * (a - b), w, before)), w

    def _map(self, problem: Composite, w: PyTree) -> PyTree:
        slope = jax.grad(problem.loss)(w, problem.args)
        v, unravel = ravel_pytree(jax.tree.map(lambda a, g: a - self.rate * g, w, slope))
        penalty = problem.penalty.flat(problem.start)
        return unravel(penalty.prox(v, jnp.asarray(self.rate, v.dtype)))

    def unknowns(self, problem: Composite, state: PyTree) -> PyTree:
        return state[0]

    def arrive(self, problem: Composite, state: PyTree) -> Point:
        w, _ = state
        residual = norm(tree_sub(self._map(problem, w), w))
        result = jnp.where(residual <= self.tol, CONVERGED, MAX_STEPS)
        result = jnp.where(all_finite((w, residual)), result, NON_FINITE).astype(jnp.int32)
        return Point(w, w, w, result, {"steps": jnp.int32(self.steps), "residual": residual})

    def conditions(self, problem: Composite, unknowns: PyTree, frozen: PyTree) -> PyTree:
        return tree_sub(unknowns, self._map(problem, unknowns))

    def value(self, problem: Composite, unknowns: PyTree, frozen: PyTree) -> PyTree:
        return unknowns

    def backsolve(self, problem: Composite, frozen: PyTree, rhs: PyTree) -> PyTree:
        _, product = jax.linearize(lambda w: self.conditions(problem, w, None), frozen)
        return GMRES(precondition=False).solve(product, lambda r: r, rhs)

    def backsolve_transposed(self, problem: Composite, frozen: PyTree, rhs: PyTree) -> PyTree:
        _, pull = jax.vjp(lambda w: self.conditions(problem, w, None), frozen)
        return GMRES(precondition=False).solve(lambda v: pull(v)[0], lambda r: r, rhs)

    def slack(self, problem: Composite, unknowns: PyTree, frozen: PyTree) -> Array:
        penalty = problem.penalty.flat(problem.start)
        w, _ = ravel_pytree(unknowns)
        slope, _ = ravel_pytree(jax.grad(problem.loss)(unknowns, problem.args))
        lengths, forces = penalty.slack(w, slope, penalty.face(w))
        return jnp.concatenate([lengths, self.rate * forces])
