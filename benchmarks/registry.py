"""The experiments by name. Their modules are imported only when one is run."""

import importlib
from types import ModuleType
from typing import NamedTuple


class Experiment(NamedTuple):
    """Where an experiment lives: a module with `Options` and `run(options, report)`."""

    module: str
    description: str

    def load(self) -> ModuleType:
        return importlib.import_module(f"benchmarks.{self.module}")


EXPERIMENTS = {
    "svm-mnist": Experiment(
        "svm_mnist",
        "Poison a linear SVM on two MNIST digits: error against the number of poison points",
    ),
    "svm-2d": Experiment(
        "svm_2d",
        "Two Gaussians: the attacker's true objective over the plane, and the ascent on it",
    ),
    "svm-gradient": Experiment(
        "svm_gradient",
        "Our hypergradient, finite differences, and the formula that papers print",
    ),
    "hypergradient-peers": Experiment(
        "hypergradient_peers",
        "Error and time of hypergradients, beside jaxopt, optimistix and qpax",
    ),
}
