"""The result of a solve: a value, a code with a sentence, and statistics."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from equinox.internal import branched_error_if
from jaxtyping import Array, Int, PyTree

from . import results
from ._tree import concrete


class SolveError(RuntimeError):
    """Raised by public functions (with `throw=True`) if an inner problem was not solved. Its
    message is the sentence of the result code.
    """


class Solution(eqx.Module):
    """Outcome of a solve. A failure is a code, so that every lane of a `vmap` has its own.

    - `value`: the minimiser.
    - `result`: int32 code; 0 means converged, `message` is its sentence.
    - `stats`: counts of the solver (steps, residual, ...).
    - `warm`: the start of the next solve of a nearby problem; None if the solver follows a path.
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
        """This solution; raises `SolveError` if it failed: at once, or at run time under `jit`."""
        return eqx.tree_at(lambda s: s.value, self, checked(self.value, self.result))


def checked(value: PyTree, result: Int[Array, "..."]) -> PyTree:
    """The value; `SolveError` if `result` is a failure: at once, or at run time under `jit`."""
    if concrete(result):
        if int(jnp.max(result)) != results.CONVERGED:
            raise SolveError(results.sentence(jnp.max(result)))
        return value
    inner = [results.SENTENCES[code] for code in range(results.LAST_INNER + 1)]
    worst = jnp.max(result)
    return branched_error_if(value, worst != results.CONVERGED, worst, inner)
