"""What a solve returns: a value, a result that reads as a sentence, and statistics."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from ._tree import concrete

CONVERGED, MAX_STEPS, NON_FINITE, INFEASIBLE, ACTIVE_SET, LINEAR_SOLVE = range(6)
DEGENERATE, UNBOUNDED = 6, 7
OUT_OF_RANGE = 8

SENTENCES = (
    "converged",
    "the inner solve stopped at max_steps before reaching tol: raise max_steps, rescale the data, "
    "or regularise the inner problem more",
    "the inner solve met NaN or infinity: check the problem's arrays for non-finite values and "
    "rescale features that span many orders of magnitude",
    "the inner problem is infeasible: no point meets all its constraints, widen or drop some "
    "(of a BoxQP: no point inside the box meets the equality, widen lower/upper or change b)",
    "the active set could not be settled to working precision (a degenerate solution): perturb or "
    "drop duplicated rows or features, or use float64",
    "a linear system could not be solved to its tolerance: raise max_steps of the linear solver, "
    "precondition it, or choose a direct one",
    "the minimiser is degenerate, so its derivative is not unique: active constraints depend on "
    "each other, one has a zero multiplier, or curvature is missing along them. Drop redundant "
    "constraints or add a little strong convexity; throw=False returns the point all the same",
    "the inner problem looks unbounded: its objective keeps falling along feasible points, bound "
    "the variables or regularise it",
    "the weights left the range of fixed-point arithmetic or met NaN: check the problem's arrays "
    "for non-finite values, lower the rate, or rescale the loss",
)


class SolveError(RuntimeError):
    """Raised at the public edge (`throw=True`) when an inner problem was not solved."""


class Solution(eqx.Module):
    """Outcome of a solve. Failure is a value, so that every lane of a `vmap` carries its own.

    - `value`: the minimiser.
    - `result`: int32 code; 0 means converged, `message` is its sentence.
    - `stats`: what the solver counted (steps, residual, ...).
    - `warm`: hand it to the next solve of a nearby problem.
    """

    value: PyTree
    result: Int[Array, "..."]
    stats: dict[str, Any]
    warm: PyTree

    @property
    def message(self) -> str:
        """The sentence of a concrete `result` (the first failure, if it is batched)."""
        return SENTENCES[int(jnp.max(self.result))]

    def checked(self) -> "Solution":
        """This solution, or `SolveError`: at once if concrete, at run time if under `jit`."""
        if concrete(self.result):
            if int(jnp.max(self.result)) != CONVERGED:
                raise SolveError(self.message)
            return self
        value = self.value
        for code in range(1, len(SENTENCES)):
            value = eqx.error_if(value, self.result == code, SENTENCES[code])
        return eqx.tree_at(lambda s: s.value, self, value)
