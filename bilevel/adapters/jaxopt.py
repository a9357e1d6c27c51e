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
    `Smooth` problem; so do `"BFGS"`, `"GradientDescent"`, `"NonlinearCG"`, ... jaxopt's own
    derivative takes no part.

    - `finish`: takes the last steps to working precision and keeps a factor for the adjoint; the
      result is then its own, and the statistics `foreign_converged` and `foreign_steps` tell of
      jaxopt's. With None the answer is jaxopt's, as exact as `tol` makes it and so its gradient;
      a state whose `error` exceeds `tol` is a failed result.

    Raises `ImportError` with the extra to install if jaxopt is missing.
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
        with warnings.catch_warnings():  # it greets with one about its maintenance
            warnings.simplefilter("ignore", DeprecationWarning)
            import jaxopt
    except ImportError as error:
        missing("jaxopt", error)
    return jaxopt
