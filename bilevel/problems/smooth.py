"""Smooth unconstrained problems."""

from collections.abc import Callable

from jaxtyping import Array, Float, Int, PyTree

from ._problem import AbstractProblem


class Smooth(AbstractProblem):
    """min_w objective(w, args), twice differentiable and strongly convex near the minimiser.

    - `objective(w, args) -> scalar`; values it closes over are differentiable too.
    - `start`: where a cold solve begins; a pytree of floating arrays, the shape of w.
    - `hessian(w, args) -> (d, d)` over the raveled w, optional: used to converge faster where
      the structure is known (X'DX). It enters only the factorisation; derivatives never trust it.
    """

    objective: Callable[[PyTree, PyTree], Float[Array, ""]]
    start: PyTree
    args: PyTree = None
    hessian: Callable[[PyTree, PyTree], Float[Array, "d d"]] | None = None

    def functions(self):
        arguments = (self.start, self.args)
        return {"objective": arguments, "hessian": arguments}

    def at(self, step: Int[Array, ""]) -> Callable[[PyTree], Float[Array, ""]]:
        """The objective as a function of w alone, at whatever step of a path."""
        del step
        return lambda w: self.objective(w, self.args)
