"""Each defense: what it costs without poison, and what is left of the damage with it."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

import defenses
from defenses import estimators

from ..sanitise.relabel import AGREEMENT
from .judge import Judge, Rows

MEASURED = 2_000
"""Up to so many rows the neighbours of each are sought."""


class Defense(NamedTuple):
    """A defense around scikit-learn's twin, which chooses rows, and around ours, to adapt to.

    - `sklearn`: of a model and a share of rows that may be poison.
    - `ours`: of a learner and that share; None where the defense has no smooth surrogate.
    """

    name: str
    sklearn: Callable[[Any, float], Any]
    ours: Any


def offered(classes: int, rows: int) -> list[Defense]:
    """The defenses that make sense for a number of classes (0 for numbers) and of rows."""
    labels = (-1.0, 1.0) if classes == 2 else tuple(map(float, range(classes)))
    of = estimators
    if classes == 0:
        return [
            Defense("TRIM", lambda m, s: of.TrimRegressor(m, s),
                    lambda m, s: defenses.Trim(m, s)),
            Defense("SEVER", lambda m, s: of.SeverRegressor(m, s),
                    lambda m, s: defenses.Sever(m, s)),
            Defense("distance filter", lambda m, s: of.FilterRegressor(m, contamination=s),
                    lambda m, s: defenses.Filter(m, contamination=s, classes=())),
            Defense("no copies", lambda m, s: of.DuplicatesRegressor(m, tolerance=1e-2), None),
        ]  # fmt: skip
    # Ours follows gradients of models with one decision.
    sever = (lambda m, s: defenses.Sever(m, s)) if classes == 2 else None
    found = [
        Defense("TRIM", lambda m, s: of.TrimClassifier(m, s), lambda m, s: defenses.Trim(m, s)),
        Defense("SEVER", lambda m, s: of.SeverClassifier(m, s), sever),
        Defense("distance filter", lambda m, s: of.FilterClassifier(m, contamination=s),
                lambda m, s: defenses.Filter(m, contamination=s, classes=labels)),
        Defense("confident learning", lambda m, s: of.ConfidentLearningClassifier(m, check=False),
                None),
        Defense("no copies", lambda m, s: of.DuplicatesClassifier(m, tolerance=1e-2), None),
    ]  # fmt: skip
    if classes == 2 and rows <= MEASURED:
        found.append(
            Defense(
                "relabel by neighbours",
                lambda m, s: of.RelabelClassifier(m, agreement=AGREEMENT),
                None,
            )
        )
    return found


def sanitised(
    judge: Judge, defense: Defense, share: float, rows: Rows
) -> tuple[Rows, Bool[np.ndarray, " n"]]:
    """(the rows that a defense around the twin keeps, as it labels them; a mask of those that it
    dropped or relabelled), told that `share` of them is poison.
    """
    model = defense.sklearn(judge.match.twin(), share)
    told = {"sample_weight": rows.weight} if np.any(rows.weight != 1) else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen = model._fit(rows.x, rows.y, **told)
    touched = ~seen.keep | (seen.y != rows.y)
    return rows._replace(y=np.asarray(seen.y, float)).take(seen.keep), touched
