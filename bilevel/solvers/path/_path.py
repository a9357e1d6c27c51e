"""Base of the solvers that follow a training path: the result at its end."""

from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..._iteration import AbstractIteration
from ..._solver import Point
from ..._tree import all_finite, norm
from ...linear import CG
from ...problems import Smooth, Stochastic
from ...results import CONVERGED, MAX_STEPS, NON_FINITE


class AbstractPath(AbstractIteration):
    """A path over `Smooth` or `Stochastic` problems whose unknowns are the weights at its end.

    - `tol`: the solve has failed if the norm of the last gradient is above it.
    """

    if TYPE_CHECKING:  # a property: as a field it would come first in a subclass's arguments

        @property
        def tol(self) -> float: ...

    else:
        tol: eqx.AbstractVar[float]

    def cold(self, problem: Smooth | Stochastic) -> PyTree:
        return problem.start

    def end(self, problem: Smooth | Stochastic, w: PyTree) -> Point:
        """The point of the last weights w."""
        residual = norm(jax.grad(problem.at(jnp.int32(self.steps - 1)))(w))
        result = jnp.where(residual <= self.tol, CONVERGED, MAX_STEPS)
        result = jnp.where(all_finite((w, residual)), result, NON_FINITE).astype(jnp.int32)
        return Point(w, w, w, result, {"steps": jnp.int32(self.steps), "residual": residual})

    def conditions(self, problem: Smooth, unknowns: PyTree, frozen: PyTree) -> PyTree:
        if not isinstance(problem, Smooth):
            raise ValueError(
                f"problem: got {type(problem).__name__}, which has no optimality conditions to "
                "differentiate, expected Smooth; use a derivative of the path (Unroll, ...)"
            )
        return jax.grad(problem.objective)(unknowns, problem.args)

    def value(self, problem: Smooth | Stochastic, unknowns: PyTree, frozen: PyTree) -> PyTree:
        return unknowns

    def backsolve(self, problem: Smooth, frozen: PyTree, rhs: PyTree) -> PyTree:
        """By conjugate gradients at the end of the path: no factor is kept."""
        _, product = jax.linearize(lambda w: self.conditions(problem, w, None), frozen)
        return CG(precondition=False).solve(product, lambda r: r, rhs)

    def slack(self, problem: Smooth | Stochastic, unknowns: PyTree, frozen: PyTree) -> Array:
        return jnp.zeros(0, jax.tree.leaves(unknowns)[0].dtype)
