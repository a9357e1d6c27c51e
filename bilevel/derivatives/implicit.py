"""Derivatives by the implicit function theorem."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

from .._devices import alone
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
        point = alone(solver.run)(problem, warm)
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

    # As one vector: `custom_linear_solve` cannot be transposed if a leaf of its right side does not
    # move, or a leaf of its solution is not used.
    rhs, unravel = ravel_pytree(pull)

    def solve_by(backsolve):
        def solve(product, rhs):
            def on_tree(v):
                return unravel(product(ravel_pytree(v)[0]))

            def on(rhs):
                return linear.solve(on_tree, lambda r: backsolve(still, frozen, r), rhs)

            return ravel_pytree(alone(on)(unravel(rhs)))[0]

        return solve

    t_out = jax.lax.custom_linear_solve(
        lambda v: ravel_pytree(matvec(unravel(v)))[0],
        -rhs,
        solve_by(solver.backsolve),
        solve_by(solver.backsolve_transposed),
        symmetric=solver.symmetric,
    )
    t_out = unravel(t_out)
    if jax.tree.leaves(t_unknowns):
        t_out = jax.tree.map(jnp.add, t_out, t_unknowns)
    return unknowns, t_out
