"""Derivatives along the path of an iteration: unrolling, in full or with checkpoints."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import PyTree

from .._iteration import AbstractIteration
from .._solver import AbstractSolver, Point
from .._tree import stop_gradient
from ._derivative import AbstractDerivative


def iteration(solver: AbstractSolver) -> AbstractIteration:
    """The solver; TypeError unless it is an iteration, whose path can be differentiated."""
    if not isinstance(solver, AbstractIteration):
        raise TypeError(
            f"solver: got {type(solver).__name__}, expected one that is a loop of equal steps "
            "(Descent, Momentum, ...), because this derivative follows its path; otherwise use "
            "Implicit()"
        )
    return solver


class Unroll(AbstractDerivative):
    """Differentiate the iteration itself (Domke 2012, Maclaurin et al. 2015, Franceschi 2017).

    Exact for the map of `steps` steps, including its start. As an approximation of the minimiser's
    derivative it converges later than the iterate. Supports jvp, vjp and higher orders.

    - `levels`: trades time for memory in reverse mode of T steps. 1 stores every state. 2 stores
      about 2 sqrt(T) states and takes one more forward pass. k stores about k T^(1/k) states and
      takes k - 1 more passes (recursive checkpointing, Griewank 1992). Forward mode stores no
      states at any level.

    Raises `ValueError` for levels < 1; `argmin` raises `TypeError` for a solver that is not an
    iteration.
    """

    levels: int = 1

    def __check_init__(self):
        if self.levels < 1:
            raise ValueError(f"levels: got {self.levels}, expected 1 (keep all states) or more")

    def attach(self, solver: AbstractSolver, problem: PyTree, warm: PyTree) -> tuple[PyTree, Point]:
        solver = iteration(solver)
        warm = solver.cold(problem) if warm is None else stop_gradient(warm)
        state = path(solver, problem, solver.begin(problem, warm), 0, solver.steps, self.levels)
        return arrival(solver, problem, state)


def arrival(solver: AbstractIteration, problem: PyTree, state: PyTree) -> tuple[PyTree, Point]:
    """(The unknowns of the last state, differentiable; its point, without derivatives)."""
    point = solver.arrive(stop_gradient(problem), stop_gradient(state))
    return solver.unknowns(problem, state), stop_gradient(point)


def path(
    solver: AbstractIteration, problem: PyTree, state: PyTree, first: int, steps: int, levels: int
) -> PyTree:
    """The state after `steps` steps from index `first` on, reverse-differentiable."""
    # The factors of the loop nest, outermost first; their product may exceed `steps` a little.
    lengths, left = [], steps
    for level in range(levels, 0, -1):
        length = math.ceil(round(left ** (1 / level), 9))
        lengths.append(length)
        left = math.ceil(left / length)
    exact = math.prod(lengths) == steps
    arrays, static = eqx.partition(state, eqx.is_array)

    def one(state, index):
        new = solver.step(problem, eqx.combine(state, static), first + index)
        return eqx.filter(new, eqx.is_array)

    def run(state, start, lengths):
        if not lengths:
            return one(state, start) if exact else lax.cond(start < steps, one, _keep, state, start)
        stride = math.prod(lengths[1:])

        def body(state, i):
            return inner(state, start + stride * i), None

        def inner(state, start):
            return run(state, start, lengths[1:])

        # The innermost loop stores its states; the loops around it are recomputed.
        if len(lengths) > 1:
            inner = jax.checkpoint(inner, prevent_cse=False)
        return lax.scan(body, state, jnp.arange(lengths[0], dtype=jnp.int32))[0]

    return eqx.combine(run(arrays, jnp.int32(0), lengths), static)


def _keep(state: PyTree, index) -> PyTree:
    del index
    return state
