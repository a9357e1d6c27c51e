"""Influence of every training row on every row held out (Koh & Liang, ICML 2017), at once.

The Hessian is factorised once. Single precision halves the time; the residual says what it cost.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from scipy.linalg import cho_solve

from .linear_models import Linear, both_linear, factorised

PROBED = 8
"""Rows held out whose solutions are checked in double precision."""


class Pairs(NamedTuple):
    """Influence of n training rows on m rows held out.

    - `value` (n, m): what leaving row i out adds to the loss of row j, to first order.
    - `residual`: largest relative residual of the linear systems, over some rows.
    """

    value: Float[np.ndarray, "n m"]
    residual: float


def influence_pairs(
    model: Any,
    x: Float[np.ndarray, "n d"],
    y: Shaped[np.ndarray, " n"],
    held_x: Float[np.ndarray, "m d"],
    held_y: Shaped[np.ndarray, " m"],
    dtype: Any = np.float32,
) -> Pairs:
    """What each training row does to the loss of each row held out.

    - `model`: scikit-learn's LogisticRegression (the loss is the log loss, of any number of
      classes) or Ridge (half the squared residual), trained on x and y to convergence, with the
      square penalty, and without weights of rows.
    - `x`, `y`, `held_x`, `held_y`: dense rows and labels or targets.
    - `dtype`: of the work; float32 is right to about six digits.

    It takes a matrix of (d + 1)^2 (classes - 1)^2 numbers. Raises `TableError` for other models and
    penalties, for weights of classes, and where the Hessian is singular.
    """
    here, there = both_linear(model, x, y, held_x, held_y)
    factor = factorised(here, dtype), True
    (n, k), d = here.slope.shape, here.rows.shape[1]
    right = np.einsum("mk,md->kdm", there.slope, there.rows).reshape(k * d, -1)
    solved = cho_solve(factor, right.astype(dtype), check_finite=False).reshape(k, d, -1)
    value = np.zeros((n, len(there.rows)), dtype)
    thin, slope = here.rows.astype(dtype), here.slope.astype(dtype)
    for a in range(k):
        value += slope[:, a : a + 1] * (thin @ solved[a])
    few = slice(0, PROBED)
    left = _product(here, solved[:, :, few].astype(float))
    aim = right.reshape(k, d, -1)[:, :, few]
    miss = np.linalg.norm(left - aim, axis=(0, 1)) / np.maximum(
        np.linalg.norm(aim, axis=(0, 1)), np.finfo(float).tiny
    )
    return Pairs(value, float(miss.max()))


def _product(here: Linear, v: Float[np.ndarray, "k e p"]) -> Float[np.ndarray, "k e p"]:
    """The Hessian times v, in double precision."""
    along = np.einsum("nab,bnp->anp", here.curvature, here.rows @ v, optimize=True)
    return here.rows.T @ along + here.penalty[:, None] * v
