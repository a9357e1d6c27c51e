"""Fixed points: equilibria, and solvers whose iteration is all that is known of them."""

from collections.abc import Callable

from jaxtyping import PyTree

from ._problem import AbstractProblem


class FixedPoint(AbstractProblem):
    """w = map(w, args), where `map` contracts near its fixed point.

    - `map(w, args) -> w`, differentiable; values it closes over are differentiable too.
    - `start`: where a cold solve begins; a pytree of floating arrays, the shape of w.
    """

    map: Callable[[PyTree, PyTree], PyTree]
    start: PyTree
    args: PyTree = None

    def functions(self):
        return {"map": (self.start, self.args)}
