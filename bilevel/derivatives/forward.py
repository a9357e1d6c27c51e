"""Forward mode for few variables: sensitivities carried along the path."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

from .._solver import AbstractSolver, Point
from .._tree import stop_gradient
from ._derivative import AbstractDerivative
from .unroll import arrival, iteration, path


class Forward(AbstractDerivative):
    """The derivative of `Unroll`, by forward mode along the path (Franceschi et al. 2017).

    Memory does not grow with the number of steps. Time grows with the number of differentiated
    entries in the arrays of problem and solver: each is one tangent. Supports jvp and vjp.

    - `most`: largest number of tangents; more raise `ValueError`. `argmin` raises `TypeError` for a
      solver that is not an iteration.
    """

    most: int = 64

    def attach(self, solver: AbstractSolver, problem: PyTree, warm: PyTree) -> tuple[PyTree, Point]:
        solver = iteration(solver)
        warm = stop_gradient(warm)

        def walk(problem, warm):
            warm = solver.cold(problem) if warm is None else warm
            return path(solver, problem, solver.begin(problem, warm), 0, solver.steps, 1)

        # A derivative rule does not see closures: the solver's arrays (a rate) become inputs.
        converted = eqx.filter_closure_convert(walk, problem, warm)
        return arrival(solver, problem, _end(problem, warm, converted, self.most))


@eqx.filter_custom_jvp
def _end(problem: PyTree, warm: PyTree, walk: Callable[..., PyTree], most: int) -> PyTree:
    """The last state."""
    del most
    return walk(problem, warm)


@_end.def_jvp
def _end_jvp(primals, tangents):
    problem, warm, walk, most = primals
    inputs, t_inputs = (problem, walk), (tangents[0], tangents[2])
    moving = jax.tree.map(lambda t: t is not None, t_inputs, is_leaf=lambda t: t is None)
    moved, fixed = eqx.partition(inputs, moving)
    flat, unravel = ravel_pytree(moved)
    if flat.size > most:
        raise ValueError(
            f"derivative: Forward() would carry {flat.size} tangents, one for each differentiated "
            f"entry of the problem and its solver, expected at most {most}: use Unroll(), or raise "
            "`most`"
        )

    def end(flat):
        problem, walk = eqx.combine(unravel(flat), fixed)
        return eqx.partition(walk(problem, warm), eqx.is_inexact_array)

    def column(direction):
        return jax.jvp(end, (flat,), (direction,), has_aux=True)

    # One program computes the state once and all tangents with it.
    basis = jnp.eye(flat.size, dtype=flat.dtype)
    smooth, columns, rest = jax.vmap(column, out_axes=(None, 0, None))(basis)
    t_flat, _ = ravel_pytree(t_inputs)
    t_smooth = jax.tree.map(lambda c: jnp.tensordot(t_flat, c, axes=1), columns)
    return eqx.combine(smooth, rest), eqx.combine(t_smooth, jax.tree.map(lambda _: None, rest))
