"""A kind of bilevel problems with exact answers, and their gradients by complex steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, PyTree

from bilevel import AbstractBilevel, AbstractSolver, Outcome, Posed, argmin
from bilevel.derivatives import AbstractDerivative, Implicit

from .exact.arithmetic import Reference
from .tables import Table

Point = tuple[Array, ...]
Exactly = Callable[[tuple[np.ndarray, ...]], Reference]


class Kind(NamedTuple):
    """A kind of problems, made of tables.

    - `pose(table)`: our objective, and where it is differentiated.
    - `face(objective, z)`: what the reference takes from our solution: its active set, and a start
      for Newton's method.
    - `exact(objective, face)`: the reference as a function of z, analytic in its long doubles.
    """

    pose: Callable[[Table], tuple[AbstractBilevel, Point]]
    face: Callable[[Any, Point], PyTree]
    exact: Callable[[Any, Any], Exactly]


class Program(AbstractBilevel):
    """A bilevel problem from two functions of arrays that stay fixed.

    - `inner(fixed, z)`: the inner problem. `outer(fixed, value)`: the outer objective.
    """

    fixed: dict[str, Array]
    inner: Callable[[dict[str, Array], Point], Any]
    outer: Callable[[dict[str, Array], Any], Array]
    solver: AbstractSolver
    derivative: AbstractDerivative = Implicit()

    def pose(self, z):
        return Posed(
            self.inner(self.fixed, z), lambda value: Outcome(self.outer(self.fixed, value))
        )

    def using(self, solver, derivative):
        return Program(self.fixed, self.inner, self.outer, solver, derivative)


def solved(objective: AbstractBilevel, z: Point) -> tuple[Any, Any]:
    """(solution of the inner problem, its warm start), which name the active set."""
    solution = argmin(objective.pose(z).problem, solver=objective.solver, throw=False)
    return solution.value, solution.warm


def exact_gradient(kind: Kind, objective: Any, z: Point, face: Any):
    """(gradient by complex steps, flat; slack; condition) on the active set of our solution. NaN
    where the reference meets a singular matrix.
    """
    shapes = [np.shape(leaf) for leaf in z]
    at = flat(z)
    places = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    value = kind.exact(objective, face)

    def there(moved: np.ndarray) -> Reference:
        parts = np.split(moved, places)
        return value(tuple(part.reshape(s) for part, s in zip(parts, shapes, strict=True)))

    step, gradient = np.longdouble(1e-60), []
    with np.errstate(all="ignore"):
        for j in range(at.size):
            moved = at.astype(np.clongdouble)
            moved[j] += 1j * step
            gradient.append(np.imag(there(moved).value) / step)
        real = there(at)
    return np.array(gradient), real.slack, real.condition


def flat(tree) -> np.ndarray:
    """The leaves of a gradient as one long double vector."""
    return np.concatenate([np.asarray(a, np.longdouble).ravel() for a in jax.tree.leaves(tree)])
