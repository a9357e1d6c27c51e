"""Further training of a network on clean rows, as repairs do it."""

from collections.abc import Callable

import equinox as eqx
import optax
from jaxtyping import Array, PRNGKeyArray, PyTree

from bilevel import AbstractSolver, Data
from bilevel.derivatives import AbstractDerivative, Unroll
from bilevel.learners import Network, NetworkModel
from bilevel.networks import AbstractArchitecture
from bilevel.results import Code
from bilevel.solvers import Descent


class Tuning(eqx.Module):
    """Further training from the parameters that a network has.

    - `solver`: of the path; its `steps` is its length.
    - `batch`: rows of a mini-batch, by default all rows.
    - `l2`: as that of `Network`.
    - `derivative`: of the path, for attacks that are aware of the repair.
    """

    solver: AbstractSolver = Descent(optax.sgd(0.02, momentum=0.9), 100)
    batch: int | None = 50
    l2: PyTree = 0.0
    derivative: AbstractDerivative = Unroll(2)

    def run(
        self,
        architecture: AbstractArchitecture,
        start: PyTree,
        clean: Data,
        loss: Callable[[Array, Array], Array],
        key: PRNGKeyArray | None,
    ) -> tuple[NetworkModel, Code]:
        """(The network that was trained on `clean` from `start`, the code of that training).

        Raises `ValueError` without a key, as `Network` does.
        """
        network = Network(
            architecture, loss, self.l2, self.batch,
            start=start, solver=self.solver, derivative=self.derivative,
        )  # fmt: skip
        fitted = network.fit(clean, key=key, throw=False)
        return fitted.model, fitted.result
