"""What a detector of rows finds, and what a victim of the rows that it keeps does."""

from typing import Any

import numpy as np
from jaxtyping import Bool

from bilevel import Data
from defenses import Inspection

from ._infected import Case, Figures, Infection, figures, trained

CLASSES = 10


def found(seen: Inspection, data: Data, poison: Bool[np.ndarray, " n"]) -> dict[str, Any]:
    """Recall and false positive rate, in all and of the worst class; None where a class or the
    data hold no poison.
    """
    dropped, y = ~np.asarray(seen.kept), np.asarray(data.y)
    recalls, false = [], []
    for label in range(CLASSES):
        bad, good = (y == label) & poison, (y == label) & ~poison
        recalls.append(float(dropped[bad].mean()) if bad.any() else None)
        false.append(float(dropped[good].mean()))
    known = [recall for recall in recalls if recall is not None]
    return {
        "recall": float(dropped[poison].mean()) if poison.any() else None,
        "worst_recall": min(known, default=None),
        "false_positives": float(dropped[~poison].mean()),
        "worst_false_positives": max(false),
        "right": float(np.mean(dropped == poison)),
        "recall_by_class": " ".join("-" if r is None else f"{r:.2f}" for r in recalls),
        "false_by_class": " ".join(f"{f:.2f}" for f in false),
    }


def retrained(of: Infection, case: Case, seen: Inspection, seed: int) -> Figures:
    """A victim of the rows that are kept, with the initial weights of the first one."""
    keep = np.asarray(seen.kept)
    data = Data(case.poisoned.x[keep], case.poisoned.y[keep])
    return figures(trained(data, of.passes, seed), case)
