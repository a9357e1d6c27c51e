"""Smooth problems with equalities and inequalities, and the interface to their solvers."""

import abc
from collections.abc import Callable

from jaxtyping import Array, Float, PyTree

from ._problem import AbstractProblem


class AbstractConstrained(AbstractProblem):
    """min_x cost(x)  subject to  equality(x) = 0  and  inequality(x) <= 0.

    x is a pytree of floating arrays. Constraints are vectors, or None if there are none. Solvers
    differentiate the three functions by JAX.
    """

    @abc.abstractmethod
    def initial(self) -> PyTree:
        """The start of a cold solve; it need not be feasible."""

    @abc.abstractmethod
    def cost(self, x: PyTree) -> Float[Array, ""]: ...

    @abc.abstractmethod
    def equality(self, x: PyTree) -> Float[Array, " p"] | None: ...

    @abc.abstractmethod
    def inequality(self, x: PyTree) -> Float[Array, " m"] | None: ...


class Constrained(AbstractConstrained):
    """min_x objective(x, args)  s.t.  equalities(x, args) = 0  and  inequalities(x, args) <= 0.

    - `objective(x, args) -> scalar`.
    - `start`: the start of a cold solve, a pytree of floating arrays of the shapes of x. The three
      functions must be finite there; it need not be feasible.
    - `args`: any pytree.
    - `equalities(x, args) -> (p,)`, `inequalities(x, args) -> (m,)`: either may be left out.

    The three functions must be twice continuously differentiable. The problem need not be convex: a
    solver ends at a local minimiser. Solutions are differentiable in `args` and in values that the
    functions close over. `argmin` raises `ValueError` for functions that return other shapes.
    """

    objective: Callable[[PyTree, PyTree], Float[Array, ""]]
    start: PyTree
    args: PyTree = None
    equalities: Callable[[PyTree, PyTree], Float[Array, " p"]] | None = None
    inequalities: Callable[[PyTree, PyTree], Float[Array, " m"]] | None = None

    def functions(self):
        arguments = (self.start, self.args)
        return {"objective": arguments, "equalities": arguments, "inequalities": arguments}

    def initial(self):
        return self.start

    def cost(self, x):
        return self.objective(x, self.args)

    def equality(self, x):
        return None if self.equalities is None else self.equalities(x, self.args)

    def inequality(self, x):
        return None if self.inequalities is None else self.inequalities(x, self.args)
