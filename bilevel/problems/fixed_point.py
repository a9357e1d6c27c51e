"""Fixed points of a map: equilibria, or iterations of another solver."""

from collections.abc import Callable

from jaxtyping import PyTree

from ._problem import AbstractProblem


class FixedPoint(AbstractProblem):
    """w = map(w, args), where `map` contracts near its fixed point.

    - `map(w, args) -> w`: differentiable.
    - `start`: the start of a cold solve, a pytree of floating arrays of the shapes of w.
    - `args`: any pytree.

    Solutions are differentiable in `args` and in values that `map` closes over.
    """

    map: Callable[[PyTree, PyTree], PyTree]
    start: PyTree
    args: PyTree = None

    def functions(self):
        return {"map": (self.start, self.args)}
