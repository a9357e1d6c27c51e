"""Conjugate gradients."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, PyTree

from .._tree import dot, norm, tree_add, tree_sub
from ._linear import AbstractLinearSolver, Operator, guard, loose

ROUNDS = 3
"""Restarts from the true residual; the recursion for it drifts."""


class CG(AbstractLinearSolver):
    """Conjugate gradients (Hestenes & Stiefel 1952) for positive definite A.

    - `tol`: relative residual of A v = r in the Euclidean norm (not of normal equations).
    - `max_steps`: products with A, at most.
    - `precondition`: use the inner solver's factorisation as preconditioner.

    The answer is NaN if its relative residual is above max(100 tol, sqrt(eps)).
    """

    tol: float = 1e-12
    max_steps: int = 1000
    precondition: bool = True

    def solve(self, matvec: Operator, backsolve: Operator, rhs: PyTree) -> PyTree:
        first = backsolve if self.precondition else lambda r: r
        v, _ = conjugate_gradients(matvec, rhs, self.tol, self.max_steps, first)
        return guard(matvec, rhs, v, max(100 * self.tol, loose(rhs)))


def conjugate_gradients(
    matvec: Operator,
    rhs: PyTree,
    tol: float,
    max_steps: int,
    precondition: Callable[[PyTree], PyTree] = lambda r: r,
) -> tuple[PyTree, Bool[Array, ""]]:
    """An approximate A^-1 rhs, to the relative residual `tol` or after `max_steps` products.

    It ends early, with its last iterate, at a direction without positive curvature; the second
    result says that there was none.
    """
    target = tol * norm(rhs)
    zero = jax.tree.map(jnp.zeros_like, rhs)

    def along(v, t, p):
        return jax.tree.map(lambda a, b: a + t * b, v, p)

    def step(state):
        v, r, p, gamma, steps, _ = state
        product = matvec(p)
        curvature = dot(p, product)
        t = jnp.where(curvature > 0, gamma / jnp.where(curvature > 0, curvature, 1), 0)
        v, r = along(v, t, p), along(r, -t, product)
        z = precondition(r)
        new = dot(r, z)
        return v, r, along(z, new / gamma, p), new, steps + 1, curvature > 0

    def go(state):
        _, r, _, gamma, steps, positive = state
        return (norm(r) > target) & (gamma > 0) & positive & (steps < max_steps)

    def again(state):
        v, r, steps, rounds, _ = state
        z = precondition(r)
        start = zero, r, z, dot(r, z), steps, jnp.bool_(True)
        more, _, _, _, steps, positive = lax.while_loop(go, step, start)
        v = tree_add(v, more)
        return v, tree_sub(rhs, matvec(v)), steps, rounds + 1, positive

    def left(state):
        _, r, steps, rounds, positive = state
        return (norm(r) > target) & positive & (steps < max_steps) & (rounds < ROUNDS)

    start = zero, rhs, jnp.int32(0), jnp.int32(0), jnp.bool_(True)
    v, *_, positive = lax.while_loop(left, again, start)
    return v, positive
