"""Anderson acceleration for fixed points."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from ..._solver import AbstractSolver, Point
from ..._tree import norm, tree_sub
from ...linear import GMRES
from ...problems import FixedPoint
from ...results import CONVERGED, MAX_STEPS, NON_FINITE

STALL = 4
"""Steps without progress after which the rounding of the map is measured."""


class Anderson(AbstractSolver):
    """Fixed points of a contraction, accelerated over the last `memory` steps (Walker & Ni 2011).

    Implicit derivatives are those of w - map(w, args) = 0, whose Jacobian need not be symmetric.
    GMRES solves its systems by products, so that no matrix is formed.

    - `tol`: the iteration ends if |map(w) - w| <= tol |w|. The solve has failed if it ends above
      100 times that, or above 100 units of rounding where these are larger: of w, or of the map
      where the iteration stalls, by how far it moves there when w moves by one unit.
    - `max_steps`: evaluations of the map, at most.
    - `memory`: number of earlier steps in an extrapolation.
    - `damping`: weight of the plain step in each update, in (0, 1].
    """

    tol: float = 1e-14
    max_steps: int = 1000
    memory: int = 5
    damping: float = 1.0

    symmetric = False

    def cold(self, problem: FixedPoint) -> PyTree:
        return problem.start

    def run(self, problem: FixedPoint, warm: PyTree) -> Point:
        w, unravel = ravel_pytree(warm)
        eps = jnp.finfo(w.dtype).eps

        def residual(w):
            return ravel_pytree(problem.map(unravel(w), problem.args))[0] - w

        def rounding(w, r):
            """How far the map moves if w does by one unit; at most half the digits count."""
            signs = jnp.where(jnp.arange(w.size) % 2 == 0, 1, -1).astype(w.dtype)
            moved = norm(residual(w * (1 + eps * signs)) - r)
            return jnp.clip(moved, eps * norm(w), 0.01 * eps**0.5 * norm(w))

        def body(state):
            w, r, dw, dr, best, best_r, noise, stall, step = state
            # Least squares by regularised normal equations: the history becomes nearly dependent.
            gram = dr @ dr.T
            ridge = 1e-14 * jnp.trace(gram) + jnp.finfo(w.dtype).tiny
            mix = jnp.linalg.solve(gram + ridge * jnp.eye(self.memory, dtype=w.dtype), dr @ r)
            new = w + self.damping * r - mix @ (dw + self.damping * dr)
            new_r = residual(new)
            # Replace an extrapolation by the plain step if the residual grows, or if it moves
            # further than a contraction of rate 1 - 1e-6 can: |r| / (1 - rate).
            bad = ~((norm(new_r) < 2 * norm(r)) & (norm(new - w) < 1e6 * norm(r)))
            new = jnp.where(bad, w + self.damping * r, new)
            new_r = lax.cond(bad, lambda: residual(new), lambda: new_r)
            slot = step % self.memory
            dw, dr = dw.at[slot].set(new - w), dr.at[slot].set(new_r - r)
            better = norm(new_r) < norm(best_r)
            best, best_r = jnp.where(better, new, best), jnp.where(better, new_r, best_r)
            stall = jnp.where(better, 0, stall + 1)
            noise = jnp.where(better, eps * norm(best), noise)
            noise = lax.cond(stall == STALL, lambda: rounding(best, best_r), lambda: noise)
            return new, new_r, dw, dr, best, best_r, noise, stall, step + 1

        def go(state):
            _, _, _, _, best, best_r, noise, stall, step = state
            # A stall ends the iteration only near rounding.
            floor = (stall >= STALL) & (norm(best_r) <= 1e3 * noise)
            return (norm(best_r) > self.tol * norm(best)) & (step < self.max_steps) & ~floor

        r = residual(w)
        blank = jnp.zeros((self.memory, w.size), w.dtype)
        start = (w, r, blank, blank, w, r, eps * norm(w), jnp.int32(0), jnp.int32(0))
        *_, w, r, noise, _, steps = lax.while_loop(go, body, start)
        size = norm(r)
        close = size <= 100 * jnp.maximum(self.tol * norm(w), noise)
        result = jnp.where(close, CONVERGED, MAX_STEPS)
        result = jnp.where(jnp.isfinite(size), result, NON_FINITE).astype(jnp.int32)
        w = unravel(w)
        return Point(w, w, w, result, {"steps": steps, "residual": size})

    def conditions(self, problem: FixedPoint, unknowns: PyTree, frozen: PyTree) -> PyTree:
        return tree_sub(unknowns, problem.map(unknowns, problem.args))

    def value(self, problem: FixedPoint, unknowns: PyTree, frozen: PyTree) -> PyTree:
        return unknowns

    def backsolve(self, problem: FixedPoint, frozen: PyTree, rhs: PyTree) -> PyTree:
        _, product = jax.linearize(lambda w: self.conditions(problem, w, None), frozen)
        return GMRES(precondition=False).solve(product, lambda r: r, rhs)

    def backsolve_transposed(self, problem: FixedPoint, frozen: PyTree, rhs: PyTree) -> PyTree:
        _, pull = jax.vjp(lambda w: self.conditions(problem, w, None), frozen)
        return GMRES(precondition=False).solve(lambda v: pull(v)[0], lambda r: r, rhs)

    def slack(self, problem: FixedPoint, unknowns: PyTree, frozen: PyTree) -> Array:
        return jnp.zeros(0, jax.tree.leaves(unknowns)[0].dtype)
