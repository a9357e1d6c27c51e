"""Labels of the attacker's for rows with the trigger, and unchanged predictions without it."""

import equinox as eqx

from ._rows import Loss
from .shown import shown
from .targeted import Targeted, targeted


def backdoor(x_source, y_wanted, x_rest, y_rest, loss: Loss, keep=1.0) -> Targeted:
    """Lower the loss of source rows, as they are shown, with the attacker's labels, and keep it low
    on other rows as they are.

    - `x_source` (n, ...), `y_wanted` (n,): rows without the trigger, which the capability presents,
      and the attacker's labels.
    - `x_rest` (k, ...), `y_rest` (k,): other rows and their labels.
    - `loss(y, f)`: usually the loss of the learner.
    - `keep`: weight of the other rows, >= 0; otherwise `ValueError`.
    """
    goal = targeted(x_source, y_wanted, x_rest, y_rest, loss, keep)
    return eqx.tree_at(lambda g: g.target, goal, shown(x_source, y_wanted, loss))
