"""The one entry point of the core: a minimiser that can be differentiated."""

import types

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ._program import program
from ._solution import Solution
from ._solver import AbstractSolver, Point
from ._tree import concrete
from .derivatives import AbstractDerivative, Implicit
from .problems import AbstractProblem
from .results import CONVERGED


def hoist(problem: AbstractProblem) -> AbstractProblem:
    """Make traced values that a problem's functions close over leaves of the problem.

    `custom_jvp` cannot see through a Python closure; without this, `grad` of a function that
    builds its objective from the differentiated variable would fail.
    """
    for name, arguments in problem.functions().items():
        function = getattr(problem, name)
        if function is None or _closes_over_nothing(function):
            continue
        converted = eqx.filter_closure_convert(function, *arguments)
        if not all(concrete(leaf) for leaf in jax.tree.leaves(converted)):
            problem = eqx.tree_at(lambda p, name=name: getattr(p, name), problem, converted)
    return problem


def _closes_over_nothing(function) -> bool:
    return isinstance(function, types.FunctionType) and not function.__closure__


def solve(
    problem: PyTree,
    warm: PyTree | None,
    solver: AbstractSolver,
    derivative: AbstractDerivative,
    point: Point | None = None,
) -> Solution:
    """`argmin` inside a program: a failed solve is a value, a path ignores the warm start.

    - `problem`: None is solved by None.
    - `point`: where the problem has been solved already; only its derivative is then attached.
    """
    if problem is None:
        return Solution(None, jnp.int32(CONVERGED), {}, None)
    problem = hoist(problem)
    warm = warm if solver.converges else None
    if point is not None and isinstance(derivative, Implicit):
        unknowns = derivative.at(solver, problem, point)
    else:
        unknowns, point = derivative.attach(solver, problem, warm)
    value = solver.value(problem, unknowns, point.frozen)
    return Solution(value, point.result, point.stats, point.warm if solver.converges else None)


_argmin = program(solve)


def argmin(
    problem: AbstractProblem,
    warm: PyTree | None = None,
    *,
    solver: AbstractSolver,
    derivative: AbstractDerivative | None = None,
    throw: bool = True,
) -> Solution:
    """Minimise `problem`, differentiably in every array it holds.

    - `problem`: `Smooth(objective, start, args)`, `BoxQP(...)`, or what the solver understands.
    - `warm`: `Solution.warm` of a nearby problem; the answer does not depend on it, the cost does.
      A solver that follows a path takes none: its answer depends on where it starts.
    - `derivative`: `Implicit()` by default.
    - `throw`: raise `SolveError` if the solve failed; otherwise read `Solution.result`.

    Correct under grad, jvp, jacfwd, jacrev, hessian, jit and vmap.
    """
    if warm is not None and not solver.converges:
        raise ValueError(
            f"warm: got one for {type(solver).__name__}, whose answer depends on where it starts; "
            "to go on from weights make them the problem's start"
        )
    derivative = Implicit() if derivative is None else derivative
    # Hoisted here: a function that closes over traced values cannot enter a program otherwise.
    solution = _argmin(hoist(problem), warm, solver, derivative)
    return solution.checked() if throw else solution
