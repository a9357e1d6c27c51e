"""Smooth problems with equalities and inequalities, and what their solvers ask of a problem."""

import abc
from collections.abc import Callable

from jaxtyping import Array, Float, PyTree

from ._problem import AbstractProblem


class AbstractConstrained(AbstractProblem):
    """min_x cost(x)  subject to  equality(x) = 0  and  inequality(x) <= 0.

    x is a pytree of floating arrays; both constraints are vectors, empty where there are none.
    Solvers take every derivative of the three functions by JAX.
    """

    @abc.abstractmethod
    def initial(self) -> PyTree:
        """Where a cold solve begins; it need not be feasible."""

    @abc.abstractmethod
    def cost(self, x: PyTree) -> Float[Array, ""]: ...

    @abc.abstractmethod
    def equality(self, x: PyTree) -> Float[Array, " p"] | None: ...

    @abc.abstractmethod
    def inequality(self, x: PyTree) -> Float[Array, " m"] | None: ...


class Constrained(AbstractConstrained):
    """min_x objective(x, args)  s.t.  equalities(x, args) = 0  and  inequalities(x, args) <= 0.

    - `objective(x, args) -> scalar`; what the functions close over is differentiable too.
    - `start`: where a cold solve begins; a pytree of floating arrays, the shape of x. The three
      functions must be finite there; it need not be feasible.
    - `equalities(x, args) -> (p,)`, `inequalities(x, args) -> (m,)`: either may be left out.

    All three twice continuously differentiable. The problem need not be convex: a solver ends at
    a local minimiser.
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
