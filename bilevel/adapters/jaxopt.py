"""jaxopt (Blondel et al. 2022) as an inner solver. The library is no longer maintained."""

import warnings
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import PyTree

from ..problems import Smooth
from ..solvers import Newton
from ..solvers.smooth._smooth import AbstractSmoothSolver
from ._foreign import AbstractForeign, missing, named


class Jaxopt(AbstractForeign):
    """A jaxopt solver of unconstrained smooth problems, differentiated by our `Implicit`.

    `Jaxopt("LBFGS", {"tol": 1e-6, "maxiter": 200})` runs `jaxopt.LBFGS(fun, tol=..., ...)` on a
    `Smooth` problem. jaxopt's own derivative is not used.

    - `name`: class of the solver in jaxopt: `"LBFGS"`, `"BFGS"`, `"GradientDescent"`, ...
    - `settings`: keyword arguments of that class.
    - `finish`: solver that takes the last steps to working precision and keeps a factor for the
      adjoint. The result is then its result; the statistics `foreign_converged` and
      `foreign_steps` are jaxopt's. With None the solution is jaxopt's, and its `tol` limits the
      precision of solution and gradient; the solve failed if the state's `error` exceeds `tol`.

    Raises `ImportError` with the command that installs jaxopt if it is missing, `ValueError` if it
    has no class `name`.
    """

    name: str
    settings: Mapping[str, Any] = eqx.field(default_factory=dict)
    finish: AbstractSmoothSolver | None = Newton()

    def reach(self, problem: Smooth, start: PyTree):
        make = named(_library(), self.name)
        solver = make(fun=lambda w: problem.objective(w, problem.args), **self.settings)
        w, state = solver.run(start)
        return w, state.error <= solver.tol, jnp.asarray(state.iter_num, jnp.int32)


def _library() -> Any:
    try:
        with warnings.catch_warnings():  # jaxopt warns at import that it is not maintained
            warnings.simplefilter("ignore", DeprecationWarning)
            import jaxopt
    except ImportError as error:
        missing("jaxopt", error)
    return jaxopt
