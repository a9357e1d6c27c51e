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
    `optimistix.BFGS(rtol=..., atol=...)` on a `Smooth` problem. optimistix's adjoints are not used.

    - `name`: class of the minimiser in optimistix: `"BFGS"`, `"LBFGS"`, `"NonlinearCG"`, ...
    - `settings`: keyword arguments of that class.
    - `finish`: solver that takes the last steps to working precision and keeps a factor for the
      adjoint. The result is then its result; the statistics `foreign_converged` and
      `foreign_steps` are optimistix's. With None the solution is optimistix's, and its tolerances
      limit the precision of solution and gradient; the solve failed unless its result is
      `RESULTS.successful`.
    - `max_steps`: largest number of optimistix's steps.

    Raises `ImportError` with the command that installs optimistix if it is missing, `ValueError`
    if it has no class `name`.
    """

    name: str
    settings: Mapping[str, Any] = eqx.field(default_factory=dict)
    finish: AbstractSmoothSolver | None = Newton()
    max_steps: int = 1000

    def reach(self, problem: Smooth, start: PyTree):
        optimistix = _library()
        solution = optimistix.minimise(
            lambda w, problem: problem.objective(w, problem.args),
            named(optimistix, self.name)(**self.settings),
            start,
            problem,
            max_steps=self.max_steps,
            throw=False,
        )
        converged = solution.result == optimistix.RESULTS.successful
        return solution.value, converged, jnp.asarray(solution.stats["num_steps"], jnp.int32)


def _library() -> Any:
    try:
        import optimistix
    except ImportError as error:
        missing("optimistix", error)
    return optimistix
