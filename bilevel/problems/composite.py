"""A smooth loss and a penalty that has a prox."""

from collections.abc import Callable

from jaxtyping import Array, Float, PyTree

from ..penalties import AbstractPenalty
from ._problem import AbstractProblem


class Composite(AbstractProblem):
    """min_w loss(w, args) + penalty(w).

    - `loss(w, args) -> scalar`: convex and twice differentiable.
    - `penalty`: from `bilevel.penalties`, for example `L1(0.1)`.
    - `start`: the start of a cold solve, a pytree of floating arrays of the shapes of w.
    - `args`: any pytree.

    Solutions are differentiable in `args`, in the penalty's strengths, and in values that `loss`
    closes over.
    """

    loss: Callable[[PyTree, PyTree], Float[Array, ""]]
    penalty: AbstractPenalty
    start: PyTree
    args: PyTree = None

    def functions(self):
        return {"loss": (self.start, self.args)}
