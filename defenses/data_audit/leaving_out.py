"""What leaving a training row out does, for all rows without training anew.

A Newton step of the problem without the row, from the model that was trained with it (Rad & Maleki,
"A scalable estimate of the out-of-sample prediction error via approximate leave-one-out
cross-validation", JRSS B 2020), and a second one by the same curvature: influence functions keep
the curvature of the row that is left out, and one step that of the others.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from scipy.linalg import solve_triangular
from scipy.special import expit, logsumexp, softmax
from sklearn.linear_model import Ridge

from .linear_models import both_linear, factorised
from .reading import TableError

NUMBERS = 20_000_000
"""Decisions that are held in memory at once."""


def leave_one_out(
    model: Any,
    x: Float[np.ndarray, "n d"],
    y: Shaped[np.ndarray, " n"],
    held_x: Float[np.ndarray, "m d"],
    held_y: Shaped[np.ndarray, " m"],
) -> Float[np.ndarray, "n m"]:
    """What leaving training row i out adds to the loss of row j held out.

    - `model`: scikit-learn's LogisticRegression (the loss is the log loss, of any number of
      classes) or Ridge (half the squared residual), trained on x and y to convergence, with the
      square penalty, and without weights of rows.
    - `x`, `y`, `held_x`, `held_y`: dense rows and labels or targets.

    Exact for ridge. NaN for the only row of a class, without which there is no model. It holds
    n (d + 1) (classes - 1)^2 numbers; its time grows as n^2 (d + 1) (classes - 1)^2. Raises
    `TableError` for other models and penalties, for weights of classes, for a single row, and where
    the Hessian is singular.
    """
    here, there = both_linear(model, x, y, held_x, held_y)
    n, k = here.slope.shape
    if n < 2:
        raise TableError(f"x: got {n} row, expected two or more: a model needs one to be left")
    d, factor = here.rows.shape[1], factorised(here, float)
    inverse = solve_triangular(factor, np.eye(k * d), lower=True).reshape(k * d, k, d)
    # In coordinates in which the Hessian with all rows is the identity.
    root, of_held = (np.einsum("pkd,nd->nkp", inverse, rows.rows) for rows in (here, there))
    own = np.einsum("nap,nbp->nab", root, root, optimize=True)
    turn = np.linalg.inv(np.eye(k)[None] - here.curvature @ own)
    decided, held = (np.reshape(_decisions(model, part), (len(part), -1)) for part in (x, held_x))
    before, value = _losses(model, held_y, held), np.empty((n, len(held)))
    count = 1 + n * max(n, len(held)) * held.shape[1] // NUMBERS
    for some in np.array_split(np.arange(n), count):
        mine, rows = root[some], np.arange(some.size)
        step = np.sum(mine * (turn[some] @ here.slope[some][:, :, None]), axis=1)
        if not isinstance(model, Ridge):
            moved = np.einsum("np,mkp->nmk", step, root, optimize=True)
            slope = _slopes(model, y, decided[None] + moved @ here.across.T) @ here.across
            beyond = slope - here.slope[None] - np.einsum("mab,nmb->nma", here.curvature, moved)
            left = step + np.einsum("nmk,mkp->np", beyond, root, optimize=True)
            left -= np.einsum("nk,nkp->np", slope[rows, some], mine)
            # Woodbury's formula for the Hessian without the row.
            along = here.curvature[some] @ (mine @ left[:, :, None])
            step = step - left - np.sum(mine * (turn[some] @ along), axis=1)
        moved = np.einsum("np,mkp->nmk", step, of_held, optimize=True) @ here.across.T
        value[some] = _losses(model, held_y, held[None] + moved) - before[None]
    if not isinstance(model, Ridge):
        _, group, size = np.unique(y, return_inverse=True, return_counts=True)
        value[size[group] == 1] = np.nan
    return value


def _decisions(model: Any, x: Float[np.ndarray, "m d"]) -> np.ndarray:
    return model.predict(x) if isinstance(model, Ridge) else model.decision_function(x)


def _losses(
    model: Any, y: Shaped[np.ndarray, " m"], f: Float[np.ndarray, "*n m c"]
) -> Float[np.ndarray, "*n m"]:
    if isinstance(model, Ridge):
        return (f[..., 0] - y) ** 2 / 2
    own = np.searchsorted(model.classes_, y)
    if f.shape[-1] == 1:
        return np.logaddexp(0, np.where(own == 1, -1, 1) * f[..., 0])
    return logsumexp(f, axis=-1) - f[..., np.arange(own.size), own]


def _slopes(
    model: Any, y: Shaped[np.ndarray, " m"], f: Float[np.ndarray, "n m c"]
) -> Float[np.ndarray, "n m c"]:
    """Of the log loss in the decisions."""
    own = np.searchsorted(model.classes_, y)
    if f.shape[-1] == 1:
        return expit(f) - own[None, :, None]
    slope = softmax(f, axis=-1)
    slope[:, np.arange(own.size), own] -= 1
    return slope
