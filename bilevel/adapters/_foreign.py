"""Base of the adapters: a foreign solver minimises, our optimality conditions differentiate."""

import abc
from collections.abc import Mapping
from typing import Any, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree

from .._solver import Point
from .._tree import all_finite, norm
from ..linear import CG
from ..problems import Smooth
from ..results import CONVERGED, MAX_STEPS, NON_FINITE
from ..solvers.smooth._smooth import AbstractSmoothSolver


class AbstractForeign(AbstractSmoothSolver):
    """A foreign minimiser of `Smooth` problems, and an optional solver that polishes its answer."""

    name: eqx.AbstractVar[str]
    settings: eqx.AbstractVar[Mapping[str, Any]]
    finish: eqx.AbstractVar[AbstractSmoothSolver | None]

    @abc.abstractmethod
    def reach(
        self, problem: Smooth, start: PyTree
    ) -> tuple[PyTree, Bool[Array, ""], Int[Array, ""]]:
        """(The foreign solver's last point, whether it reports convergence, its steps)."""

    def run(self, problem: Smooth, warm: PyTree) -> Point:
        # Other libraries need the standard promotion, whatever the caller set.
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            w, converged, steps = self.reach(problem, warm)
        if self.finish is not None:
            point = self.finish.run(problem, w)
            stats = {**point.stats, "foreign_steps": steps, "foreign_converged": converged}
            return Point(point.unknowns, point.frozen, point.warm, point.result, stats)
        residual = norm(self.conditions(problem, w, None))
        result = jnp.where(converged, CONVERGED, MAX_STEPS)
        result = jnp.where(all_finite((w, residual)), result, NON_FINITE).astype(jnp.int32)
        return Point(w, w, w, result, {"steps": steps, "residual": residual})

    def backsolve(self, problem: Smooth, frozen: PyTree, rhs: PyTree) -> PyTree:
        """By the factor of `finish`; by conjugate gradients if `finish` is None."""
        if self.finish is not None:
            return self.finish.backsolve(problem, frozen, rhs)
        _, product = jax.linearize(lambda w: self.conditions(problem, w, None), frozen)
        return CG(precondition=False).solve(product, lambda r: r, rhs)


def missing(library: str, error: ImportError) -> NoReturn:
    """Raise ImportError with the command that installs the library."""
    raise ImportError(
        f"{library} cannot be imported ({error}): install it with `pip install bilevel[{library}]`"
    ) from error


def named(library: Any, name: str) -> Any:
    """The class `name` of a library; ValueError if there is none."""
    solver = getattr(library, name, None)
    if not isinstance(solver, type):
        raise ValueError(
            f"name: got {name!r}, expected the name of a solver in {library.__name__}, for "
            "example 'LBFGS'"
        )
    return solver
