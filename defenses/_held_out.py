"""Whether a defense pays, by rows held out of training, and which of several does.

Held-out rows hold the poison too. Their losses are bounded, so that poison of a share e can hide a
rise of the mean loss on the other rows of e / (1 - e) at most: what does more harm is seen.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

FOLDS = 5
SURE = 1.5
"""Standard errors by which the mean loss must fall for a defense to be used at all."""
NEAR = 0.5
"""Standard errors within which a weaker defense is as good as the one of least loss."""


class HeldOut(NamedTuple):
    """Bounded losses of rows held out of training.

    - `losses` (1 + k, n): undefended, and behind each of the defenses, the weakest first.
    - `share` (n,): weights of the rows, which add up to 1.
    """

    losses: Float[np.ndarray, "m n"]
    share: Float[np.ndarray, " n"]

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


def bounded(squares: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "m n"]:
    """Squared residuals r as losses r / (r + m) in [0, 1], m the median of the first model's (Geman
    & McClure 1987).
    """
    middle = max(float(np.median(squares[0])), np.finfo(float).tiny)
    return squares / (squares + middle)
