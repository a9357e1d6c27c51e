"""Validation rows with groups, as goals of fairness take them."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from bilevel import Data

from ..fairness._groups import groups_of, scarce


def grouped(
    x_val, y_val, group, needs: tuple[str, ...] = ("rows",)
) -> tuple[Data, Int[Array, " n"]]:
    """(rows, their groups). ValueError for labels other than -1 and +1, groups that `groups_of`
    refuses, and groups without what is needed.
    """
    data = Data(x_val, y_val)
    labels = np.unique(np.asarray(data.y))
    if not np.all(np.isin(labels, (-1, 1))):
        raise ValueError(
            f"y_val: got labels {labels[:5]}, expected only -1 and +1, the favourable outcome"
        )
    groups = groups_of(group, data.rows)
    missing = scarce(groups, np.asarray(data.y) > 0)
    for what in needs:
        if what in missing:
            raise ValueError(f"group: {missing[what]}; add validation rows of it, or leave it out")
    return data, jnp.asarray(groups)
