"""How a classifier treats groups: rates of each, and measures by their textbook definitions."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float, Int, Shaped

from ._groups import Rates, groups_of, scarce
from .measures import (
    AbstractContrast,
    AverageOdds,
    Between,
    DisparateImpact,
    EqualisedOdds,
    EqualOpportunity,
    Extremes,
    ParityDifference,
)


class Disparities(NamedTuple):
    """Measures between groups; NaN where a rate that they need does not exist."""

    disparate_impact: float
    parity_difference: float
    equal_opportunity_difference: float
    equalised_odds_difference: float
    average_odds_difference: float


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """Rates of a classifier, over all rows and per group (k,).

    - `accuracy`, `selection_rate`: over all rows.
    - `rows`: number of rows of each group. `accuracies`, `selection_rates`,
      `false_negative_rates`, `false_positive_rates`: of each group; NaN without rows to count.
    - `notes`: sentences about groups with too few rows.
    """

    accuracy: float
    selection_rate: float
    rows: Int[np.ndarray, " k"]
    accuracies: Float[np.ndarray, " k"]
    selection_rates: Float[np.ndarray, " k"]
    false_negative_rates: Float[np.ndarray, " k"]
    false_positive_rates: Float[np.ndarray, " k"]
    notes: tuple[str, ...]

    @property
    def disparities(self) -> Disparities:
        """Between the extremes of all groups: no sign, the disparate impact is at most 1."""
        return self._compared(Extremes())

    def between(self, group: int, reference: int) -> Disparities:
        """The group minus (or over) the reference, usually the privileged one: signed, but for
        equalised odds. ValueError for a group that there is not.
        """
        for name, number in {"group": group, "reference": reference}.items():
            if not 0 <= number < len(self.rows):
                raise ValueError(f"{name}: got {number}, expected 0 to {len(self.rows) - 1}")
        return self._compared(Between(group, reference))

    def _compared(self, contrast: AbstractContrast) -> Disparities:
        undefined = np.full(len(self.rows), np.nan)
        rates = Rates(
            undefined, self.selection_rates, 1 - self.false_negative_rates,
            self.false_positive_rates, undefined,
        )  # fmt: skip
        kinds = (DisparateImpact, ParityDifference, EqualOpportunity, EqualisedOdds, AverageOdds)
        with np.errstate(divide="ignore", invalid="ignore"):  # nobody is selected
            return Disparities(*(float(kind(contrast)(rates)) for kind in kinds))

    def __str__(self) -> str:
        lines = [f"accuracy {self.accuracy:.3f}, selected {self.selection_rate:.3f}"]
        for g, rows in enumerate(self.rows):
            lines.append(
                f"group {g}: {rows} rows, accuracy {self.accuracies[g]:.3f}, selected "
                f"{self.selection_rates[g]:.3f}, false negatives {self.false_negative_rates[g]:.3f}"
                f", false positives {self.false_positive_rates[g]:.3f}"
            )
        found = self.disparities._asdict().items()
        lines.append(", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in found))
        return "\n".join([*lines, *self.notes])


def report(
    y: Shaped[ArrayLike, " n"], predicted: Shaped[ArrayLike, " n"], group: Sequence | ArrayLike
) -> Report:
    """Rates of predicted labels, in all rows and in each group.

    - `y`, `predicted`: labels -1 and +1, or 0 and 1; the larger is the favourable outcome.
    - `group`: numbers 0 ... k - 1, k >= 2.

    Raises `ValueError` for other labels, other lengths, NaN, and groups without rows.
    """
    y, predicted = np.asarray(y), np.asarray(predicted)
    for name, labels in {"y": y, "predicted": predicted}.items():
        if labels.shape != y.shape or y.ndim != 1 or y.size == 0:
            raise ValueError(f"{name}: got shape {labels.shape}, expected (n,), one label per row")
        found = np.unique(labels)
        if not (np.all(np.isin(found, (-1, 1))) or np.all(np.isin(found, (0, 1)))):
            raise ValueError(
                f"{name}: got labels {found[:5]}, expected -1 and +1, or 0 and 1, of which the "
                "larger is the favourable outcome"
            )
    groups = groups_of(group, len(y))
    positive, selected = y > 0, predicted > 0
    right = positive == selected

    def shares(of: np.ndarray, among: np.ndarray) -> np.ndarray:
        total = np.bincount(groups[among], minlength=groups.max() + 1)
        count = np.bincount(groups[among & of], minlength=len(total))
        return np.where(total > 0, count / np.maximum(total, 1), np.nan)

    every = np.ones(len(y), bool)
    return Report(
        accuracy=float(right.mean()),
        selection_rate=float(selected.mean()),
        rows=np.bincount(groups),
        accuracies=shares(right, every),
        selection_rates=shares(selected, every),
        false_negative_rates=shares(~selected, positive),
        false_positive_rates=shares(selected, ~positive),
        notes=tuple(scarce(groups, positive).values()),
    )
