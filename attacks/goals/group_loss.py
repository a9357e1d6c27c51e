"""Validation losses split by protected group (Solans, Biggio & Castillo, ECML 2020)."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from bilevel.losses import Logistic

from ._grouped import grouped
from ._rows import Loss
from .combined import Sum
from .indiscriminate import Indiscriminate


def group_loss(
    x_val,
    y_val,
    group,
    weights: Sequence[float] | ArrayLike | None = None,
    loss: Loss | None = None,
) -> Sum:
    """sum_g weights_g (mean loss of the rows of group g).

    - `x_val` (n, ...), `y_val` (n,): validation rows and labels, -1 or +1.
    - `group` (n,): 0 ... k - 1. It need not be a feature.
    - `weights` (k,): of any sign, by default ones; differentiable, `goal.weights`. Groups count the
      same, whatever their number of rows p, m: this is the paper's sum over unprivileged rows +
      lambda sum over privileged rows, divided by p, with lambda = weights_1 / weights_0 p / m.
    - `loss(y, f) -> (n,)`: by default the logistic loss.

    With true labels it raises errors of every group; with those of `unwanted` it is a surrogate of
    disparate impact. Raises `ValueError` for labels and groups that do not fit.
    """
    data, groups = grouped(x_val, y_val, group)
    loss = Logistic() if loss is None else loss
    every = range(int(np.max(np.asarray(groups))) + 1)
    # Other rows have weight zero, so that groups of any size share compiled programs.
    parts = [
        Indiscriminate(data.x, data.y, jnp.where(groups == g, data.weight, 0), loss) for g in every
    ]
    return Sum(parts, weights)


def unwanted(x_val, group, against: int = 0) -> Sum:
    """The loss of the decisions that the attacker does not want: +1 in group `against`, -1 in the
    others, groups counting the same. Raising it lowers the selection rate of that group, and raises
    those of the others.

    - `x_val` (n, ...), `group` (n,): validation rows and their groups 0 ... k - 1.

    Raises `ValueError` as `group_loss` does.
    """
    return group_loss(x_val, np.where(np.asarray(group) == against, 1.0, -1.0), group)
