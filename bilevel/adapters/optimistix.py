"""optimistix (Rader, Lyons & Kidger 2024) as an inner solver."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import PyTree

from ..problems import Smooth
from ..solvers import Newton
from ..solvers.smooth._smooth import AbstractSmoothSolver
from ._foreign import AbstractForeign, missing, named


class Optimistix(AbstractForeign):
    """An optimistix minimiser of smooth problems, differentiated by our `Implicit`.

    `Optimistix("BFGS", {"rtol": 1e-6, "atol": 1e-6})` runs `optimistix.minimise` with
    `optimistix.BFGS(rtol=..., atol=...)` on a `Smooth` problem; so do `"LBFGS"`, `"NonlinearCG"`,
    `"GradientDescent"`, ... Its adjoints take no part.

    - `finish`: takes the last steps to working precision and keeps a factor for the adjoint; the
      result is then its own, and the statistics `foreign_converged` and `foreign_steps` tell of
      optimistix's. With None the answer is optimistix's, as exact as its tolerances make it and
      so its gradient; whatever is not `RESULTS.successful` is a failed result.

    Raises `ImportError` with the extra to install if optimistix is missing.
    """

    name: str
    settings: Mapping[str, Any] = eqx.field(default_factory=dict)
    finish: AbstractSmoothSolver | None = Newton()
    max_steps: int = 1000

    def reach(self, problem: Smooth, start: PyTree):
        optimistix = _library()
        found = optimistix.minimise(
            lambda w, problem: problem.objective(w, problem.args),
            named(optimistix, self.name)(**self.settings),
            start,
            problem,
            max_steps=self.max_steps,
            throw=False,
        )
        converged = found.result == optimistix.RESULTS.successful
        return found.value, converged, jnp.asarray(found.stats["num_steps"], jnp.int32)


def _library() -> Any:
    try:
        import optimistix
    except ImportError as error:
        missing("optimistix", error)
    return optimistix
