"""Whether a defense pays, by rows held out of training, and how strong a one does.

Held-out rows hold the poison too. Their losses are bounded, so that poison of a share e can hide a
rise of the mean loss on the other rows of e / (1 - e) at most: what does more harm is seen.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from ..sanitise.confident_learning import folds_of
from ._rows import Rows
from ._tasks import in_parallel

if TYPE_CHECKING:
    from ._sanitiser import Sanitiser

AUTO = "auto"
SHARES = (0.05, 0.1, 0.2, 0.3)
"""Of the rows, that are tried for "auto"."""
FOLDS = 5
SURE = 1.5
"""Standard errors by which the mean loss must fall for a defense to be used at all."""
NEAR = 0.5
"""Standard errors within which a weaker defense is as good as the one of least loss."""


class HeldOut(NamedTuple):
    """Bounded losses of rows held out of training.

    - `losses` (1 + k, n): undefended, and behind each of the defenses, the weakest first.
    - `share` (n,): weights of the rows, which add up to 1. `trainings`: how many were made.
    """

    losses: Float[np.ndarray, "m n"]
    share: Float[np.ndarray, " n"]
    trainings: int

    def exceeds(self, one: int, other: int, errors: float) -> bool:
        """Whether the mean of one row of losses exceeds another's by so many standard errors."""
        rise = self.losses[one] - self.losses[other]
        mean = rise @ self.share
        return bool(mean > errors * np.sqrt(np.sum((self.share * (rise - mean)) ** 2)))

    def chosen(self) -> int | None:
        """The weakest defense whose loss is near the least; None if the undefended loss does not
        surely exceed it.
        """
        best = int(np.argmin(self.losses @ self.share))
        weakest = next(k for k in range(len(self.losses)) if not self.exceeds(k, best, NEAR))
        weakest = max(weakest, 1)
        return weakest - 1 if self.exceeds(0, weakest, SURE) else None

    def told(self, which: int) -> str:
        """In words, whether this defense pays."""
        without, behind = self.losses[[0, which + 1]] @ self.share
        text = f"held-out loss {behind:.3g}, undefended {without:.3g}"
        return text + (": this made it worse" if self.exceeds(which + 1, 0, 1) else "")


def held_out(defenses: Sequence["Sanitiser"], rows: Rows, n_jobs: int | None) -> HeldOut | None:
    """What cross-validation in `FOLDS` parts says of defenses around one estimator; None of rows
    that are too few, or all alike.
    """
    plain, used = defenses[0], np.ones(rows.y.size, bool)
    place = folds_of(rows.hashes(), plain._group(rows), used, min(FOLDS, rows.y.size))
    if np.unique(place).size < 2 or rows.y.size < 2 * FOLDS:
        return None

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
    return HeldOut(plain._bounded(losses), share, sum(spent for _, spent in found))
