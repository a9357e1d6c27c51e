"""The inner solver's factorisation, with iterative refinement."""

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._tree import norm, tree_add, tree_sub
from ._linear import AbstractLinearSolver, Operator, loose, nan_if


class Factor(AbstractLinearSolver):
    """The inner solver's last factorisation, with iterative refinement while the residual falls.

    It takes one back-substitution per cotangent if the factor is exact at the solution, a few more
    if the factor is of an earlier iterate or regularised. The default for all solvers that keep a
    factor.

    - `max_refinements`: refinements after the first back-substitution, at most.

    The answer is NaN if its relative residual is above sqrt(eps).
    """

    max_refinements: int = 100

    def solve(self, matvec: Operator, backsolve: Operator, rhs: PyTree) -> PyTree:
        # One body for the first solve and the refinements: one back-substitution to compile.
        def body(state):
            v, left, (size, steps, _) = state
            new = tree_add(v, backsolve(left))
            new_left = tree_sub(rhs, matvec(new))
            new_size = norm(new_left)
            better = new_size < size
            v, left = jax.tree.map(lambda a, b: jnp.where(better, a, b), (new, new_left), (v, left))
            # Further than to `coarse` only while a refinement gains much.
            enough = jnp.where(new_size > coarse, 1, 0.5)
            worth = (new_size < enough * size) & (new_size > floor)
            size = jnp.where(better, new_size, size)
            return v, left, jnp.stack([size, steps + 1, worth.astype(size.dtype)])

        def go(state):
            _, steps, worth = state[2]
            return (worth > 0) & (steps <= self.max_refinements)

        size = norm(rhs)
        coarse = loose(rhs) * size
        floor = 64 * jnp.finfo(size.dtype).eps * size
        zero = jax.tree.map(jnp.zeros_like, rhs)
        scalars = jnp.stack([size, jnp.zeros_like(size), (size > 0).astype(size.dtype)])
        v, _, (left, _, _) = jax.lax.while_loop(go, body, (zero, rhs, scalars))
        return nan_if(~(left <= coarse), v)
