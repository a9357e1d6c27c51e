"""The inner solver's factorisation, with iterative refinement."""

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._tree import norm, tree_add, tree_sub
from ._linear import AbstractLinearSolver, Operator, loose, nan_if

PATIENCE = 10
"""Refinements in a row that leave the least residual as it is, of a system that is not solved."""


class Factor(AbstractLinearSolver):
    """The inner solver's last factorisation, refined until the residual stops falling.

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
            v, left, (size, least, stall, steps, _) = state
            new = tree_add(v, backsolve(left))
            new_left = tree_sub(rhs, matvec(new))
            new_size = norm(new_left)
            # With a factor of an earlier iterate the error falls, but the residual may grow first:
            # by up to the root of the condition. Below `coarse` it must fall, and by much.
            takes = (size > coarse) | (new_size < size)
            v, left = jax.tree.map(lambda a, b: jnp.where(takes, a, b), (new, new_left), (v, left))
            stall = jnp.where(new_size < least, 0, stall + 1)
            near = new_size <= coarse
            worth = jnp.where(near, new_size < 0.5 * size, (size > coarse) & (stall < PATIENCE))
            worth &= new_size > floor
            size, least = jnp.where(takes, new_size, size), jnp.minimum(new_size, least)
            scalars = size, least, stall, steps + 1, worth.astype(size.dtype)
            return v, left, jnp.stack(scalars)

        def go(state):
            *_, steps, worth = state[2]
            return (worth > 0) & (steps <= self.max_refinements)

        size = norm(rhs)
        coarse = loose(rhs) * size
        floor = 64 * jnp.finfo(size.dtype).eps * size
        zero, none = jax.tree.map(jnp.zeros_like, rhs), jnp.zeros_like(size)
        scalars = jnp.stack([size, size, none, none, (size > 0).astype(size.dtype)])
        v, _, (left, *_) = jax.lax.while_loop(go, body, (zero, rhs, scalars))
        return nan_if(~(left <= coarse), v)
