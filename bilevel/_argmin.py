"""The one entry point of the core: a minimiser that can be differentiated."""

import equinox as eqx
import jax
from jaxtyping import PyTree

from ._solution import Solution
from ._solver import AbstractSolver
from ._tree import concrete
from .derivatives import AbstractDerivative, Implicit
from .problems import AbstractProblem


def hoist(problem: AbstractProblem) -> AbstractProblem:
    """Make traced values that a problem's functions close over leaves of the problem.

    `custom_jvp` cannot see through a Python closure; without this, `grad` of a function that
    builds its objective from the differentiated variable would fail.
    """
    for name, arguments in problem.functions().items():
        function = getattr(problem, name)
        if function is None:
            continue
        converted = eqx.filter_closure_convert(function, *arguments)
        if not all(concrete(leaf) for leaf in jax.tree.leaves(converted)):
            problem = eqx.tree_at(lambda p, name=name: getattr(p, name), problem, converted)
    return problem


@eqx.filter_jit
def _argmin(problem, warm, solver, derivative) -> Solution:
    unknowns, point = derivative.attach(solver, problem, warm)
    value = solver.value(problem, unknowns, point.frozen)
    return Solution(value, point.result, point.stats, point.warm)


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
    - `derivative`: `Implicit()` by default.
    - `throw`: raise `SolveError` if the solve failed; otherwise read `Solution.result`.

    Correct under grad, jvp, jacfwd, jacrev, hessian, jit and vmap.
    """
    derivative = Implicit() if derivative is None else derivative
    solution = _argmin(hoist(problem), warm, solver, derivative)
    return solution.checked() if throw else solution
