"""A smooth loss and a penalty that has a prox."""

from collections.abc import Callable

from jaxtyping import Array, Float, PyTree

from ..penalties import AbstractPenalty
from ._problem import AbstractProblem


class Composite(AbstractProblem):
    """min_w loss(w, args) + penalty(w).

    - `loss(w, args) -> scalar`: convex and twice differentiable; values it closes over are
      differentiable too.
    - `penalty`: from `bilevel.penalties`, `L1(0.1)`; its strengths are differentiable.
    - `start`: where a cold solve begins; a pytree of floating arrays, the shape of w.
    """

    loss: Callable[[PyTree, PyTree], Float[Array, ""]]
    penalty: AbstractPenalty
    start: PyTree
    args: PyTree = None

    def functions(self):
        return {"loss": (self.start, self.args)}
