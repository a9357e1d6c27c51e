"""Threat models of the protected attribute of poison rows: chosen by the attacker, or fixed.

Either way it is a value that a row can have, at every step: it never drifts between two.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from ..domains import Columns


def chosen(domain: Columns, columns: Sequence[int]) -> Columns:
    """The attacker chooses the protected attribute of each row, among its values.

    - `columns`: features of the attribute: a binary or spaced one, or all of a one-hot group. Of an
      encoded frame, `encoding.columns_of(name)`.

    Returns the domain; ValueError if it lets one of them take values in between.
    """
    grouped = {i for group in domain.groups for i in group}
    spacing = np.asarray(domain.spacing)
    levels = spacing if spacing.ndim else np.full(max(columns) + 1, spacing)
    free = [c for c in columns if c not in grouped and levels[c] == 0]
    if free:
        raise ValueError(
            f"columns: feature {free[0]} is continuous in this domain, expected levels or a "
            "one-hot group; give it a spacing, or fix it: fairness.fixed(domain, columns, start)"
        )
    return domain


def fixed(domain: Columns, columns: Sequence[int], start: Float[ArrayLike, "m d"]) -> Columns:
    """The attacker cannot change the protected attribute: each row keeps that of `start` (m, d).

    Raises `ValueError` as `Columns.fix` does.
    """
    return domain.fix(columns, jnp.asarray(start))
