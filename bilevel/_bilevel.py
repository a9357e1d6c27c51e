"""Bilevel objectives: an outer function of the solution of an inner problem."""

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from ._argmin import solve
from ._program import closed, compiled, opened, program
from ._solution import checked
from ._solver import AbstractSolver, Point
from ._tree import norm
from .derivatives import AbstractDerivative, Implicit
from .linear import AbstractLinearSolver, Factor
from .results import CONVERGED, Code

Value = Float[Array, ""]


class Info(eqx.Module):
    """Report of one evaluation.

    - `result`: code of the inner solve, or of a training before it that failed.
    - `stats`: counts of the inner solver (steps, residual, ...).
    - `touched`: whether the solution depends on any decision variable; None if that is not known.
    """

    result: Int[Array, ""]
    stats: dict[str, Any]
    touched: Bool[Array, ""] | None = None


class AbstractObjective(eqx.Module):
    """A function z -> scalar that `maximize` and `minimize` optimise."""

    # By identity: jax.jit and other transformations then accept an objective as a function.
    __hash__ = object.__hash__
    __eq__ = object.__eq__

    @abc.abstractmethod
    def evaluate(self, z: PyTree, warm: PyTree | None = None) -> tuple[Value, tuple[PyTree, Info]]:
        """(value, (warm start for the next evaluation nearby, info)).

        It never raises on a failed solve: `info.result` has the code. The value does not depend on
        `warm`, an earlier warm start or None for a cold start.
        """

    @abc.abstractmethod
    def cold(self, z: PyTree) -> PyTree:
        """The cold start: the `warm` of an evaluation without an earlier one."""

    def prepared(self) -> "AbstractObjective":
        """The same objective with all that does not depend on z computed; by default itself."""
        return self

    def keyed(self, key: PRNGKeyArray) -> "AbstractObjective":
        """The same objective with its randomness drawn from `key`. By default ValueError."""
        raise ValueError(f"draws: a {type(self).__name__} has no randomness; leave draws out")

    def project(self, z: PyTree) -> PyTree:
        """The nearest feasible z; by default z itself."""
        return z

    def scale(self, z: PyTree) -> Value:
        """Unit of step lengths: the size of a relevant change of z. By default |z|; 1 if z = 0."""
        size = norm(z)
        return jnp.where(size > 0, size, jnp.ones_like(size))

    def direction(self, gradient: PyTree) -> PyTree:
        """The steepest direction, of Euclidean length 1 by default; zero for a zero gradient."""
        size = norm(gradient)
        return jax.tree.map(lambda leaf: leaf / jnp.where(size > 0, size, 1), gradient)

    def __call__(self, z: PyTree) -> Value:
        """The value at z from a cold start; `SolveError` if the inner problem was not solved."""
        # Opened, because a derivative rule does not see what a function closes over.
        return checked(*_value(*opened((self.prepared(), z))))


@eqx.filter_custom_jvp
def _value(objective: AbstractObjective, z: PyTree) -> tuple[Value, Int[Array, ""]]:
    return _evaluated(objective, z)


@_value.def_jvp
def _value_jvp(primals, tangents):
    """One program for value and gradient, rather than one for each."""
    moving = jax.tree.map(lambda t: t is not None, tangents, is_leaf=lambda t: t is None)
    (value, result), gradient = _slope(*eqx.partition(primals, moving))
    slopes = jax.tree.map(lambda g, t: jnp.sum(g * t), gradient, tangents)
    return (value, result), (sum(jax.tree.leaves(slopes)), None)


@program
def _evaluated(objective: AbstractObjective, z: PyTree) -> tuple[Value, Int[Array, ""]]:
    value, (_, info) = objective.evaluate(z)
    return value, info.result


@compiled
def _slope(moved: PyTree, fixed: PyTree) -> tuple[tuple[Value, Int[Array, ""]], PyTree]:
    def value(moved):
        objective, z = closed(eqx.combine(moved, fixed))
        value, (_, info) = objective.evaluate(z)
        return value, info.result

    return jax.value_and_grad(value, has_aux=True)(moved)


class Outcome(eqx.Module):
    """The outer objective at a solution of the inner problem.

    - `score`: its value.
    - `result`: code of the work done on the solution (a repair, for example).
    - `kinks`: () -> quantities at whose zeros the outer objective is not differentiable; None if
      there are none.
    - `touched`: whether the solution depends on any decision variable; None if that is not known.
    """

    score: Value
    result: Code = CONVERGED
    kinks: Callable[[], Array] | None = None
    touched: Bool[Array, ""] | None = None


class Posed(eqx.Module):
    """A bilevel problem at one z.

    - `problem`: the inner problem; None if there is nothing to solve.
    - `outcome`: solution of the inner problem -> `Outcome`.
    - `result`: the worst code of the trainings that posed the problem.
    - `point`: the solution, if the inner problem is solved already.
    """

    problem: PyTree
    outcome: Callable[[PyTree], Outcome]
    result: Code = CONVERGED
    point: Point | None = None

    def kinks(self, value: PyTree) -> Array:
        """Quantities at whose zeros the outer objective is not differentiable; may be empty."""
        kinks = self.outcome(value).kinks
        return jnp.zeros(0) if kinks is None else kinks()


class AbstractBilevel(AbstractObjective):
    """z -> F(z, w*(z)) with w*(z) the minimiser of an inner problem that depends on z."""

    if TYPE_CHECKING:  # properties: as fields they would come first among a subclass's arguments

        @property
        def solver(self) -> AbstractSolver: ...

        @property
        def derivative(self) -> AbstractDerivative: ...

    else:
        solver: eqx.AbstractVar[AbstractSolver]
        derivative: eqx.AbstractVar[AbstractDerivative]

    @property
    def linear(self) -> AbstractLinearSolver:
        """The linear solver for the adjoint system of a certificate."""
        return self.derivative.linear if isinstance(self.derivative, Implicit) else Factor()

    @abc.abstractmethod
    def pose(self, z: PyTree) -> Posed:
        """The inner problem at z, and the outer objective as a function of its solution."""

    @abc.abstractmethod
    def using(self, solver: AbstractSolver, derivative: AbstractDerivative) -> "AbstractBilevel":
        """The same problem with another solver and another derivative."""

    def pinned(self, z: PyTree) -> "AbstractBilevel":
        """The same objective near z, with its discrete choices (rows that a defense drops) fixed to
        those at z. Value and gradient at z are the same. By default itself.
        """
        del z
        return self

    def cold(self, z):
        problem = self.pose(z).problem
        return self.solver.cold(problem) if problem is not None and self.solver.converges else None

    def evaluate(self, z, warm=None):
        return self.solve(self.pose(z), warm)

    def solve(self, posed: Posed, warm: PyTree | None = None) -> tuple[Value, tuple[PyTree, Info]]:
        """(value of the posed problem, (warm start for a nearby one, report))."""
        solution = solve(posed.problem, warm, self.solver, self.derivative, posed.point)
        outcome = posed.outcome(solution.value)
        result = worst(posed.result, solution.result, outcome.result)
        info = Info(result, solution.stats, outcome.touched)
        return outcome.score, (solution.warm, info)


def worst(*codes: Code) -> Int[Array, ""]:
    """The largest of result codes: `CONVERGED` only if all parts of the work converged."""
    result = jnp.int32(CONVERGED)
    for code in codes:
        result = jnp.maximum(result, jnp.asarray(code, jnp.int32))
    return result


class Bilevel(AbstractBilevel):
    """A bilevel problem from two functions.

    - `inner_problem(z) -> problem`: `Smooth(...)`, `BoxQP(...)`, or another that `solver` accepts.
    - `outer_objective(z, value) -> scalar`: of z and the solution of the inner problem.
    - `solver`, `derivative`: how the inner problem is solved and differentiated.

    Called with z it returns the value, and raises `SolveError` if the inner solve failed.
    """

    inner_problem: Callable[[PyTree], PyTree]
    outer_objective: Callable[[PyTree, PyTree], Value]
    solver: AbstractSolver
    derivative: AbstractDerivative = Implicit()

    def pose(self, z):
        return Posed(self.inner_problem(z), lambda value: Outcome(self.outer_objective(z, value)))

    def using(self, solver, derivative):
        return Bilevel(self.inner_problem, self.outer_objective, solver, derivative)


class Function(AbstractObjective):
    """A plain function z -> scalar, without an inner problem, as an objective."""

    function: Callable[[PyTree], Value]

    def cold(self, z):
        del z
        return None

    def evaluate(self, z, warm=None):
        del warm
        done = Info(jnp.int32(CONVERGED), {})
        value = self.function(z)
        if (
            value is None
            or jnp.shape(value) != ()
            or not jnp.issubdtype(jnp.result_type(value), jnp.floating)
        ):
            got = "None" if value is None else f"shape {jnp.shape(value)}"
            raise ValueError(f"objective: returned {got}, expected one floating number")
        return value, (None, done)
