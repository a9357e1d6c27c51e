"""How far a gradient lags behind the iterate it is taken at."""

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
    """`inner_error` and `gradient_error`, both relative, of one method at `steps` inner steps."""

    name: str
    steps: int
    inner_error: float
    gradient_error: float


class Lag(NamedTuple):
    """`rows` per method and number of steps. `str()` is a table, `plot()` a figure."""

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
    """Errors of the inner solution and of the hypergradient as the inner solve gets longer.

    - `objective`: differentiated implicitly by a solver that converges: the reference for both.
    - `methods`: names to `steps -> Method`, for example
      `lambda steps: Method(Descent(optax.sgd(.1), steps), Unroll())`.
    """
    certificate = certify(objective, z)
    if int(certificate.result) != CONVERGED or bool(certificate.degenerate):
        raise SolveError(f"lag: the reference at z is no reference. {certificate}")

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
