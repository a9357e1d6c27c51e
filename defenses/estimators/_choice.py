"""What rows held out of training say of defenses around one estimator."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .._held_out import FOLDS, HeldOut
from ..sanitise.confident_learning import folds_of
from ._rows import Rows
from ._tasks import in_parallel

if TYPE_CHECKING:
    from ._sanitiser import Sanitiser

AUTO = "auto"
SHARES = (0.05, 0.1, 0.2, 0.3)
"""Of the rows, that are tried for "auto"."""


def held_out(
    defenses: Sequence["Sanitiser"], rows: Rows, n_jobs: int | None
) -> tuple[HeldOut | None, int]:
    """(what cross-validation in `FOLDS` parts says of the defenses, None of rows that are too few,
    or all alike; how many trainings that took).
    """
    plain, used = defenses[0], np.ones(rows.y.size, bool)
    place = folds_of(rows.hashes(), plain._group(rows), used, min(FOLDS, rows.y.size))
    if np.unique(place).size < 2 or rows.y.size < 2 * FOLDS:
        return None, 0

    def of_fold(fold: np.integer) -> tuple[np.ndarray, int]:
        train, held = rows.take(place != fold), rows.take(place == fold)
        losses, spent = [plain._misses(plain._train(train), held)], 1
        for defense in defenses:
            seen = defense._inspect(train)
            model = defense._train(train._replace(y=seen.y).take(seen.keep))
            losses.append(defense._misses(model, held))
            spent += seen.trainings + 1
        return np.array(losses), spent

    folds = np.unique(place)
    found = in_parallel(n_jobs, of_fold, folds)
    losses = np.zeros((1 + len(defenses), rows.y.size))
    for fold, (of_rows, _) in zip(folds, found, strict=True):
        losses[:, place == fold] = of_rows
    share = rows.weight / np.sum(rows.weight)
    return HeldOut(plain._bounded(losses), share), sum(spent for _, spent in found)
