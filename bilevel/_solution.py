"""What a solve returns: a value, a result that reads as a sentence, and statistics."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from equinox.internal import branched_error_if
from jaxtyping import Array, Int, PyTree

from . import results
from ._tree import concrete


class SolveError(RuntimeError):
    """Raised at the public edge (`throw=True`) when an inner problem was not solved."""


class Solution(eqx.Module):
    """Outcome of a solve. Failure is a value, so that every lane of a `vmap` carries its own.

    - `value`: the minimiser.
    - `result`: int32 code; 0 means converged, `message` is its sentence.
    - `stats`: what the solver counted (steps, residual, ...).
    - `warm`: the start of the next solve of a nearby problem; None where the solver follows a path.
    """

    value: PyTree
    result: Int[Array, "..."]
    stats: dict[str, Any]
    warm: PyTree

    @property
    def message(self) -> str:
        """The sentence of a concrete `result` (the first failure, if it is batched)."""
        return results.sentence(jnp.max(self.result))

    def checked(self) -> "Solution":
        """This solution, or `SolveError`: at once if concrete, at run time if under `jit`."""
        return eqx.tree_at(lambda s: s.value, self, checked(self.value, self.result))


def checked(value: PyTree, result: Int[Array, "..."]) -> PyTree:
    """The value, or `SolveError` where `result` is a failure: at run time if under `jit`."""
    if concrete(result):
        if int(jnp.max(result)) != results.CONVERGED:
            raise SolveError(results.sentence(jnp.max(result)))
        return value
    inner = [results.SENTENCES[code] for code in range(results.OUT_OF_RANGE + 1)]
    worst = jnp.max(result)
    return branched_error_if(value, worst != results.CONVERGED, worst, inner)
