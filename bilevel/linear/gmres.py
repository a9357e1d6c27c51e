"""Generalised minimal residuals."""

import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, PyTree

from .._tree import norm
from ._linear import AbstractLinearSolver, Operator, loose, nan_if


class GMRES(AbstractLinearSolver):
    """Restarted flexible GMRES (Saad & Schultz 1986, Saad 1993), for A that is indefinite or not
    symmetric.

    - `tol`: relative residual of A v = r.
    - `max_steps`: products with A, at most (checked between restarts).
    - `restart`: dimension of a Krylov space.
    - `precondition`: use the inner solver's factorisation, which may be an iteration.

    The answer is NaN if its relative residual is above max(100 tol, sqrt(eps)).
    """

    tol: float = 1e-12
    max_steps: int = 1000
    restart: int = 30
    precondition: bool = True

    def solve(self, matvec: Operator, backsolve: Operator, rhs: PyTree) -> PyTree:
        b, unravel = ravel_pytree(rhs)
        # Squares of very small or large entries leave the range of floating point.
        largest = jnp.max(jnp.abs(b), initial=0)
        scale = jnp.where(largest > 0, largest, 1)
        b = b / scale

        def flat(operator):
            return lambda v: ravel_pytree(operator(unravel(v)))[0]

        product = flat(matvec)
        prepare = flat(backsolve) if self.precondition else (lambda v: v)
        target = self.tol * norm(b)

        def cycle(state):
            x, left, _, steps = state
            correction, taken = self._cycle(product, prepare, left, target)
            new = x + correction
            new_left = b - product(new)
            better = norm(new_left) < norm(left)
            x, left = jnp.where(better, new, x), jnp.where(better, new_left, left)
            return x, left, better, steps + taken

        def go(state):
            _, left, better, steps = state
            return better & (norm(left) > target) & (steps < self.max_steps)

        start = (jnp.zeros_like(b), b, norm(b) > 0, jnp.int32(0))
        x, left, _, _ = lax.while_loop(go, cycle, start)
        solved = norm(left) <= max(100 * self.tol, loose(rhs)) * norm(b)  # False for NaN
        return nan_if(~solved, unravel(scale * x))

    def _cycle(self, product, prepare, left, target) -> tuple[Array, Array]:
        """The best correction within one Krylov space of at most `restart` dimensions."""
        m = self.restart
        size = norm(left)
        eps = jnp.finfo(left.dtype).eps
        order = jnp.arange(m, dtype=jnp.int32)

        def arnoldi(state):
            basis, images, triangle, rotations, j, _ = state
            z = prepare(basis[j])
            w = product(z)
            scale = norm(w)
            h = basis @ w
            w = w - h @ basis
            again = basis @ w  # a second pass keeps the basis orthogonal to rounding
            w = w - again @ basis
            length = norm(w)
            fresh = length > 10 * eps * scale
            basis = basis.at[j + 1].set(jnp.where(fresh, w / jnp.where(fresh, length, 1), 0))
            column = (h + again).at[j + 1].set(jnp.where(fresh, length, 0))
            # Givens rotations, accumulated as a matrix, keep the Hessenberg matrix triangular.
            column = rotations @ column
            a, b = column[j], column[j + 1]
            radius = jnp.hypot(a, b)
            c, s = a / jnp.where(radius > 0, radius, 1), b / jnp.where(radius > 0, radius, 1)
            top, bottom = rotations[j], rotations[j + 1]
            rotations = rotations.at[j].set(c * top + s * bottom)
            rotations = rotations.at[j + 1].set(c * bottom - s * top)
            column = column.at[j].set(radius)[:m]
            triangle = triangle.at[:, j].set(jnp.where(order <= j, column, 0))
            near = jnp.abs(rotations[j + 1, 0]) * size <= 0.5 * target
            return basis, images.at[j].set(z), triangle, rotations, j + 1, near | ~fresh

        def go(state):
            return (state[4] < m) & ~state[5]

        n, dtype = left.size, left.dtype
        basis = jnp.zeros((m + 1, n), dtype).at[0].set(left / jnp.where(size > 0, size, 1))
        images = jnp.zeros((m, n), dtype)
        start = (basis, images, jnp.zeros((m, m), dtype), jnp.eye(m + 1, dtype=dtype))
        _, images, triangle, rotations, j, _ = lax.while_loop(
            go, arnoldi, (*start, jnp.int32(0), jnp.bool_(False))
        )
        # columns that were not reached, or lie in the span of others, are left out
        diagonal = jnp.diagonal(triangle)
        used = jnp.abs(diagonal) > 10 * eps * jnp.max(jnp.abs(diagonal))
        triangle = jnp.where(jnp.outer(used, used), triangle, jnp.diag((~used).astype(dtype)))
        mix = solve_triangular(triangle, jnp.where(used, size * rotations[:m, 0], 0))
        return mix @ images, j
