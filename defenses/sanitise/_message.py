"""What a sanitiser did to the rows, in words."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

LESS = 0.9
"""Classes of which less than this times the share of another is kept are warned of."""


def sentence(
    used: Bool[np.ndarray, " n"],
    kept: Bool[np.ndarray, " n"],
    changed: Bool[np.ndarray, " n"],
    score: Float[np.ndarray, " n"],
    group: Any,
    trainings: int,
    spared: Sequence[Any] = (),
) -> str:
    """One sentence: how many of the rows `used` were kept and relabelled, what that is of each
    class, and whether anything sets the dropped ones apart.

    - `changed`: rows whose label was changed. `group` (n,): the class of each row, by its name.
    - `spared`: classes that kept their rows although all were suspect.
    """
    text = f"kept {int(np.sum(used & kept))} of {int(np.sum(used))} rows"
    text += f", relabelled {int(np.sum(changed))}" if changed.any() else ""
    left, classes = used & kept & ~changed, np.unique(group[used])
    share = {name: float(np.mean(left[used & (group == name)])) for name in classes}
    if len(share) > 1:
        told = ", ".join(f"{100 * part:.0f} % of class {_name(c)}" for c, part in share.items())
        text += f" (unchanged: {told})"
    text += f"; {trainings} trainings"
    gap = _gap(used, kept, score, [group == name for name in classes])
    if gap is not None:
        text += f"; the least suspect row dropped scores {gap:.3g} times the most suspect one kept"
        text += " of its class" if len(share) > 1 else ""
        if gap < 1.5:
            text += (
                ": no gap, so that clean rows are likely among the dropped. Train on rows "
                "known to be clean to measure what dropping them costs"
            )
    if spared:
        text += (
            f"; warning: all rows of class {', '.join(map(_name, spared))} are suspect; they were "
            "kept, because a model needs every class. Look at them"
        )
    if share and min(share.values()) < LESS * max(share.values()):
        least = min(share, key=lambda name: share[name])
        text += (
            f"; warning: class {_name(least)} loses more than the others. If its rows are clean, "
            "the model will miss more of it: compare recall with that of the undefended model"
        )
    return text


def _name(label: Any) -> str:
    return f"{label:g}" if isinstance(label, float | np.floating) else str(label)


def _gap(used: Any, kept: Any, score: Any, groups: list[Any]) -> float | None:
    """The least ratio, over the classes, of the lowest score dropped to the highest kept; None
    where scores say nothing of the kind.
    """
    gaps = []
    for group in groups:
        dropped, left = score[group & used & ~kept], score[group & used & kept]
        if dropped.size and left.size and dropped.min() > 0 and left.max() > 0:
            gaps.append(float(dropped.min() / left.max()))
    return min(gaps) if gaps else None
