"""Poison rows against ridge and logistic spam filters (spambase).

As in `breast-cancer`: ham that is labelled spam, moved so that the retrained filter errs on
validation mails. Features are logarithms of word counts, in [0, 1].
"""

import dataclasses

from benchmarks.options import Count, Counts
from benchmarks.report import Report

from . import _poisoned_classifiers


@dataclasses.dataclass(frozen=True)
class Options(_poisoned_classifiers.Options):
    """How much poison, on which rows."""

    points: Counts = (5, 10, 20, 40, 60)
    """Numbers of poison points."""
    train: Count = 300
    """Clean training rows."""
    validation: Count = 500
    """Validation rows: the attacker raises the loss on them."""
    test: Count = 2000
    """Held-out test rows."""


def run(options: Options, report: Report) -> None:
    """One row per learner, number of points and split."""
    _poisoned_classifiers.run_on("spam", options, report)
