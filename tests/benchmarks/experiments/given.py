"""Stubs that say what they were given: a case of networks, and a learner of scikit-learn's."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from attacks import AllToOne
from benchmarks.experiments.model_defenses._infected import TARGET, Figures
from bilevel import Data

Y = {
    "train": np.arange(12) % 10, "clean": np.arange(8) % 4, "test": np.array([7, 7, 7, 1, 2, 3, 4]),
}  # fmt: skip


def rows_of(name: str, shift: float = 0.0) -> Data:
    """Rows that say whose they are."""
    number = {"train": 1.0, "clean": 2.0, "test": 3.0}[name] + shift
    return Data(np.full((len(Y[name]), 1, 1, 1), number), Y[name])


POISONED = Data(np.r_[rows_of("train").x, np.full((3, 1, 1, 1), 9.0)], np.r_[Y["train"], 7, 7, 7])
CASE: Any = SimpleNamespace(
    train=rows_of("train"), poisoned=POISONED, poison=np.arange(15) >= 12, clean=rows_of("clean"),
    test=rows_of("test"), shown=rows_of("test", 0.5).x, labels=AllToOne(TARGET),
)  # fmt: skip


def whose(x: Any) -> float:
    """The number of the rows, that of all."""
    return float(np.mean(np.asarray(x)))


class Model:
    """A network that says which it is, what was done to it, and on which rows."""

    architecture = "architecture"

    def __init__(self, name: str, right: Any = ()):
        self.parameters = self.name = name
        self.right = right

    def predict(self, x: Any) -> np.ndarray:
        if whose(x) not in (3.0, 3.5, 4.0):
            raise AssertionError(f"not test rows: {whose(x)}")
        wrong = np.ones(len(x), bool)
        wrong[list(self.right)] = False
        return np.where(wrong, 10, Y["test"])


def victim(of: Any, seed: int, infected: bool = True) -> Model:
    return Model("backdoor" if infected else "clean")


def figures(model: Any, of: Any) -> Figures:
    """They say of which model and case they are."""
    assert of is CASE
    return Figures(model.name, f"success of {model.name}", f"recovered of {model.name}")  # pyright: ignore


def stub(monkeypatch: Any, module: Any, **others: Any) -> None:
    """These in place of what the module has, and the case, victims and figures that say."""
    common = {"case": lambda *a: CASE, "victim": victim, "figures": figures, "NetworkModel": Model}
    for name, value in (common | others).items():
        if hasattr(module, name):
            monkeypatch.setattr(module, name, value)


class Fitted(NamedTuple):
    """In place of scikit-learn's learner, fitted."""

    C: float
    x: Any
    y: Any
    weight: Any = None


class Recorder:
    """In place of `LogisticRegression`: its fit is what it was given."""

    def __init__(self, C: float, **settings: Any):
        self.C = C

    def fit(self, x: Any, y: Any, sample_weight: Any = None) -> Fitted:
        return Fitted(self.C, x, y, sample_weight)
