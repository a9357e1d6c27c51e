"""The options of the arena."""

import dataclasses
from typing import Annotated, Literal

from benchmarks.options import FRACTION, SOME, Count, Shares, check

from ._arena_defenses import Defense

Attack = Literal["insert", "not-moved", "flips", "random-flips"]
Kind = Literal["logistic", "ridge", "svm"]


@dataclasses.dataclass(frozen=True)
class Options:
    """Attacks, defenses, learners, data and sizes."""

    attacks: Annotated[tuple[Attack, ...], SOME] = ("insert", "not-moved", "flips", "random-flips")
    """Optimised rows inserted, the rows they start from, labels flipped by hypergradient, labels
    flipped at random."""
    defenses: Annotated[tuple[Defense, ...], SOME] = ("roni", "sever", "trim", "relabel", "filter")
    """Which defenses, each around every learner; the slow ones first keep all cores busy."""
    learners: Annotated[tuple[Kind, ...], SOME] = ("logistic", "ridge", "svm")
    """Which classifiers."""
    rates: Shares = (0.05, 0.1, 0.15)
    """Poison as a share of the clean training rows."""
    seeds: Count = 10
    """Number of random splits."""
    data: Literal["breast-cancer", "spam"] = "breast-cancer"
    """Which rows."""
    train: Count = 100
    """Clean training rows."""
    validation: Count = 200
    """Validation rows: the attacker raises the loss on them."""
    test: Count = 269
    """Held-out test rows."""
    contamination: Annotated[float, FRACTION] = 0.15
    """Share of rows that a defense drops, if it takes one."""
    steps: Count = 40
    """Steps of the optimised attack."""

    def __post_init__(self):
        check(self)

    @property
    def budgets(self) -> list[int]:
        return [max(1, round(rate * self.train)) for rate in self.rates]
