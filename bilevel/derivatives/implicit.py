"""Derivatives by the implicit function theorem."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._solver import AbstractSolver, Point
from .._tree import stop_gradient
from ..linear import AbstractLinearSolver, Factor
from ._derivative import AbstractDerivative


class Implicit(AbstractDerivative):
    """Implicit function theorem on the solver's conditions, in the problem's arrays.

    F(u, z) = 0 implies A du = -(dF/dz) dz with A = dF/du. JAX derives both products from the
    residual F. Supports jvp, vjp, higher orders, jit and vmap.

    - `linear`: solver of the systems with A, from `bilevel.linear`. The derivative is NaN if it
      fails.
    """

    linear: AbstractLinearSolver = Factor()

    def attach(self, solver: AbstractSolver, problem: PyTree, warm: PyTree) -> tuple[PyTree, Point]:
        warm = solver.cold(problem) if warm is None else warm
        point = stop_gradient(solver.run(stop_gradient(problem), stop_gradient(warm)))
        return self.at(solver, problem, point), point

    def at(self, solver: AbstractSolver, problem: PyTree, point: Point) -> PyTree:
        """The unknowns of `point`, the solution of `problem`, with their derivative."""
        return implicit_root(point.unknowns, problem, point.frozen, solver, self.linear)


@eqx.filter_custom_jvp
def implicit_root(
    unknowns: PyTree,
    problem: PyTree,
    frozen: PyTree,
    solver: AbstractSolver,
    linear: AbstractLinearSolver,
) -> PyTree:
    """The unknowns, as a function of the problem: `solver.conditions(problem, u, frozen) == 0`.

    Value and linearisation are those at the given unknowns. If these move, both move: the
    certificate moves them by their remaining error.
    """
    del problem, frozen, solver, linear
    return unknowns


@implicit_root.def_jvp
def _implicit_jvp(primals, tangents):
    _, problem, frozen, solver, linear = primals
    # By `implicit_root` again: in a second derivative u must depend on the problem.
    unknowns = implicit_root(*primals)
    t_unknowns, t_problem, *_ = tangents
    moving = jax.tree.map(lambda t: t is not None, t_problem, is_leaf=lambda t: t is None)
    moved, fixed = eqx.partition(problem, moving)

    def in_problem(moved):
        return solver.conditions(eqx.combine(moved, fixed), unknowns, frozen)

    def in_unknowns(u):
        return solver.conditions(problem, u, frozen)

    if not jax.tree.leaves(t_problem):
        return unknowns, t_unknowns
    _, pull = jax.jvp(in_problem, (moved,), (t_problem,))
    _, matvec = jax.linearize(in_unknowns, unknowns)
    still = stop_gradient(problem)

    def solve(matvec, rhs):
        return linear.solve(matvec, lambda r: solver.backsolve(still, frozen, r), rhs)

    def solve_transposed(vecmat, rhs):
        return linear.solve(vecmat, lambda r: solver.backsolve_transposed(still, frozen, r), rhs)

    rhs = jax.tree.map(lambda leaf: -leaf, pull)
    t_out = jax.lax.custom_linear_solve(
        matvec, rhs, solve, solve_transposed, symmetric=solver.symmetric
    )
    if jax.tree.leaves(t_unknowns):
        t_out = jax.tree.map(jnp.add, t_out, t_unknowns)
    return unknowns, t_out
