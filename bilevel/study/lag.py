"""`lag`: errors of the iterate and of its gradient along a path."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxtyping import PyTree

from .._argmin import argmin
from .._bilevel import AbstractBilevel
from .._certify import certify
from .._solution import SolveError
from ..results import CONVERGED
from ._method import Method, evaluated, relative, using
from ._table import table


class Measured(NamedTuple):
    """Relative errors of inner solution and gradient, by the method `name` with `steps` steps."""

    name: str
    steps: int
    inner_error: float
    gradient_error: float


class Lag(NamedTuple):
    """Result of `lag`: `rows`, one per method and number of steps. `str()` is a table, `plot()` a
    figure.
    """

    rows: list[Measured]

    def __str__(self) -> str:
        return table(
            [
                {
                    "derivative": row.name,
                    "steps": str(row.steps),
                    "error of w": f"{row.inner_error:.1e}",
                    "error of the gradient": f"{row.gradient_error:.1e}",
                }
                for row in self.rows
            ]
        )

    def plot(self) -> Any:
        """Gradient error against inner error. Needs matplotlib."""
        from ._plots import draw_lag

        return draw_lag(self)


def lag(
    objective: AbstractBilevel,
    z: PyTree,
    methods: Mapping[str, Callable[[int], Method]],
    steps: Sequence[int],
) -> Lag:
    """Measure errors of the inner solution and of the hypergradient for several path lengths.

    - `objective`: with a solver that converges and an implicit derivative, the reference for both.
    - `z`: the point, a pytree of floating arrays.
    - `methods`: mapping from names to functions steps -> `Method`, for example
      `lambda steps: Method(Descent(optax.sgd(.1), steps), Unroll())`.
    - `steps`: the path lengths.

    Raises `SolveError` if the reference has not converged or is degenerate.
    """
    certificate = certify(objective, z)
    if int(certificate.result) != CONVERGED or bool(certificate.degenerate):
        raise SolveError(f"lag: the reference at z is degenerate or not solved. {certificate}")

    exact = _minimiser(objective, z)
    rows = []
    for name, method in methods.items():
        for count in steps:
            swapped = using(objective, method(count))
            solution = _minimiser(swapped, z)
            gradient = evaluated(swapped, z).gradient
            rows.append(
                Measured(
                    name, count, relative(solution, exact), relative(gradient, certificate.gradient)
                )
            )
    return Lag(rows)


def _minimiser(objective: AbstractBilevel, z: PyTree) -> PyTree:
    problem, derivative = objective.pose(z).problem, objective.derivative
    return argmin(problem, solver=objective.solver, derivative=derivative, throw=False).value
