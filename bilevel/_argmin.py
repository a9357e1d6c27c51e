"""`argmin`: the minimiser of an inner problem, with a derivative."""

import contextlib
import types
from collections.abc import Iterator

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
    """The problem, with the traced values that its functions close over as leaves.

    `custom_jvp` does not see what a Python function closes over. Without this step, `grad` fails
    for a function that builds its objective from the differentiated variable.
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


@contextlib.contextmanager
def scalar_functions() -> Iterator[None]:
    """ValueError for an objective that returns no scalar, which JAX calls a function."""
    try:
        yield
    except TypeError as error:
        says = str(error)
        if "scalar-output" not in says:
            raise
        raise ValueError(
            "problem: its objective or loss must return one floating number; "
            + says.split(". ", 1)[-1]
        ) from error


def solve(
    problem: PyTree,
    warm: PyTree | None,
    solver: AbstractSolver,
    derivative: AbstractDerivative,
    point: Point | None = None,
) -> Solution:
    """`argmin` inside a program. It never raises on a failed solve: `Solution.result` has the code.
    A solver that follows a path ignores `warm`.

    - `problem`: the inner problem; the solution of None is None.
    - `point`: the solution, if the problem is solved already; then only its derivative is attached.
    """
    if problem is None:
        return Solution(None, jnp.int32(CONVERGED), {}, None)
    if not isinstance(problem, solver.solves):
        kinds = solver.solves if isinstance(solver.solves, tuple) else (solver.solves,)
        raise ValueError(
            f"solver: {type(solver).__name__} got a {type(problem).__name__}, expected a "
            f"{' or '.join(kind.__name__ for kind in kinds)}; choose another from bilevel.solvers"
        )
    problem = hoist(problem)
    warm = warm if solver.converges else None
    if point is not None and isinstance(derivative, Implicit):
        unknowns = derivative.at(solver, problem, point)
    else:
        with scalar_functions():
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
    """Minimise `problem`. The solution is differentiable in every array of the problem.

    - `problem`: `Smooth(objective, start, args)`, `BoxQP(...)`, or another that `solver` accepts.
    - `warm`: `Solution.warm` of a nearby problem. It changes the cost, not the solution.
    - `solver`: from `bilevel.solvers` or `bilevel.adapters`.
    - `derivative`: from `bilevel.derivatives`; `Implicit()` by default.
    - `throw`: raise `SolveError` if the solve failed; otherwise `Solution.result` has the code.

    Supports grad, jvp, jacfwd, jacrev, hessian, jit and vmap. Raises `ValueError` for a warm start
    of a solver that follows a path, because its answer depends on where it starts; `SolveError`
    with the sentence of the result code.
    """
    if warm is not None and not solver.converges:
        raise ValueError(
            f"warm: got one for {type(solver).__name__}, whose answer depends on where it starts; "
            "to continue from given weights, make them the problem's start"
        )
    derivative = Implicit() if derivative is None else derivative
    # Hoisted here: a function that closes over traced values cannot enter a program otherwise.
    solution = _argmin(hoist(problem), warm, solver, derivative)
    return solution.checked() if throw else solution
