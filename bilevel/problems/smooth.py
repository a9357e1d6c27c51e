"""Smooth unconstrained problems."""

from collections.abc import Callable

from jaxtyping import Array, Float, Int, PyTree

from ._problem import AbstractProblem


class Smooth(AbstractProblem):
    """min_w objective(w, args), twice differentiable and strongly convex near the minimiser.

    - `objective(w, args) -> scalar`.
    - `start`: the start of a cold solve, a pytree of floating arrays of the shapes of w.
    - `args`: any pytree.
    - `hessian(w, args) -> (d, d)` over the raveled w: optional, for a structure that is faster to
      compute (X'DX). It enters only the factorisation: derivatives do not depend on its accuracy.

    Solutions are differentiable in `args` and in values that `objective` closes over.
    """

    objective: Callable[[PyTree, PyTree], Float[Array, ""]]
    start: PyTree
    args: PyTree = None
    hessian: Callable[[PyTree, PyTree], Float[Array, "d d"]] | None = None

    def functions(self):
        arguments = (self.start, self.args)
        return {"objective": arguments, "hessian": arguments}

    def at(self, step: Int[Array, ""]) -> Callable[[PyTree], Float[Array, ""]]:
        """The objective as a function of w only, the same for every step of a path."""
        del step
        return lambda w: self.objective(w, self.args)
