"""Conjugate gradients."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import PyTree

from .._tree import dot, norm, tree_add, tree_sub
from ._linear import AbstractLinearSolver, Operator, guard, loose

ROUNDS = 3
"""Starts from the true residual, which the recursion for it drifts away from."""


class CG(AbstractLinearSolver):
    """Conjugate gradients, preconditioned by the inner solver's factorisation when asked.

    `tol` is the relative residual of A v = r itself, in the Euclidean norm, never of normal
    equations. A must be positive definite.
    """

    tol: float = 1e-12
    max_steps: int = 1000
    precondition: bool = True

    def solve(self, matvec: Operator, backsolve: Operator, rhs: PyTree) -> PyTree:
        first = backsolve if self.precondition else lambda r: r
        v = conjugate_gradients(matvec, rhs, self.tol, self.max_steps, first)
        return guard(matvec, rhs, v, max(100 * self.tol, loose(rhs)))


def conjugate_gradients(
    matvec: Operator,
    rhs: PyTree,
    tol: float,
    max_steps: int,
    precondition: Callable[[PyTree], PyTree] = lambda r: r,
) -> PyTree:
    """An approximate A^-1 rhs: residual `tol` relative to rhs, or what `max_steps` products give.

    Ends early, with what it has, in a direction of no positive curvature.
    """
    least = tol * norm(rhs)
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
        return (norm(r) > least) & (gamma > 0) & positive & (steps < max_steps)

    def again(state):
        v, r, steps, rounds, _ = state
        z = precondition(r)
        start = zero, r, z, dot(r, z), steps, jnp.bool_(True)
        more, _, _, _, steps, positive = lax.while_loop(go, step, start)
        v = tree_add(v, more)
        return v, tree_sub(rhs, matvec(v)), steps, rounds + 1, positive

    def left(state):
        _, r, steps, rounds, positive = state
        return (norm(r) > least) & positive & (steps < max_steps) & (rounds < ROUNDS)

    start = zero, rhs, jnp.int32(0), jnp.int32(0), jnp.bool_(True)
    return lax.while_loop(left, again, start)[0]
